// Tests which channels a configuration opens, and which it refuses.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@petrel/shared/kernel/clock";
import { ConfigError } from "@petrel/shared/kernel/config";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readDispatchConfig } from "../config.js";
import { openChannels } from "./open-channels.js";

let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "petrel-channels-"))));
afterAll(() => rmSync(directory, { recursive: true }));

const open = (environment: Record<string, string>) =>
  openChannels(readDispatchConfig(environment), systemClock);
const FALLBACK_WEBHOOK_URL = "https://shop.example.test/hook";

function secretFile(content: string): string {
  const file = join(directory, "secret");
  writeFileSync(file, content);
  return file;
}

test("none where none is configured", () => {
  expect(open({})).toEqual([]);
});

test("the webhook, signed or not", () => {
  const file = secretFile(`whsec_${Buffer.alloc(32, 1).toString("base64")}\n`);
  expect(open({ FALLBACK_WEBHOOK_URL }).map(({ name }) => name)).toEqual(["webhook"]);
  expect(open({ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: file })).toHaveLength(1);
});

test.each([
  [{ FALLBACK_WEBHOOK_URL: "ftp://x/" }, "FALLBACK_WEBHOOK_URL must be a URL"],
  [{ FALLBACK_WEBHOOK_URL: "https://a:b@x/" }, "no user and password"],
  [{ FALLBACK_WEBHOOK_SECRET_FILE: "/x" }, "needs FALLBACK_WEBHOOK_URL"],
  [{ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: "/nowhere/at/all" }, "cannot be read"],
])("%o is refused", (environment, problem) => {
  expect(() => open(environment)).toThrow(ConfigError);
  expect(() => open(environment)).toThrow(problem);
});

test("a secret that is none is refused, and not repeated", () => {
  const file = secretFile("whsec_hunter2");
  const attempt = (): unknown => open({ FALLBACK_WEBHOOK_URL, FALLBACK_WEBHOOK_SECRET_FILE: file });
  expect(attempt).toThrow("FALLBACK_WEBHOOK_SECRET_FILE must hold whsec_");
  expect(attempt).not.toThrow("hunter2");
});
