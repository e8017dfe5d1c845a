// Tests the addresses that a client takes.
import { afterEach, expect, test, vi } from "vitest";
import { checkUrls } from "./check-options.js";
import { PetrelClient } from "./client.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each([
  ["wss://a.test/v1/connect", "wss://a.test/v1/connect"],
  ["https://a.test/v1/connect?x=1", "wss://a.test/v1/connect?x=1"],
  ["http://a.test:81/v1/connect", "ws://a.test:81/v1/connect"],
  ["/v1/connect", "wss://page.test/v1/connect"],
  ["connect", "wss://page.test/app/connect"],
  ["//push.test/v1/connect", "wss://push.test/v1/connect"],
])("%s on a page is %s", (given, url) => {
  vi.stubGlobal("location", { href: "https://page.test/app/index.html" });
  expect(checkUrls(given)).toEqual([url]);
});

test.each(["ftp://a.test", "", "wss://a.test/#top", "https://a.test/?token=t", 7])("refuses %s", (given) => {
  vi.stubGlobal("location", { href: "https://page.test/" });
  expect(() => checkUrls(given)).toThrow(/^url: /);
});

test("accepts a relative address without a page, for server rendering; connecting then fails", () => {
  const client = new PetrelClient({ url: "/v1/connect", getToken: () => "t", WebSocket: vi.fn() as never });
  expect(() => client.connect()).toThrow(/relative/);
  expect(client.state).toBe("closed");
});
