// Tests the cached public keys, against a real HTTP server that can be down, slow, wrong and endless. Each test counts
// the requests that reach the server.
import { generateKeyPairSync } from "node:crypto";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { JwksCache, jwksUrlOf } from "./jwks-cache.js";
import { type PublicJwk, toPublicJwk } from "./public-jwk.js";

const logger = createLogger({ service: "test", level: "silent" });

function makeJwk(): PublicJwk {
  return toPublicJwk(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey);
}

const [first, second] = [makeJwk(), makeJwk()];

let server: Server;
let authUrl: string;
let requests: string[];
let answer: (response: ServerResponse) => void;
const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => clock.nowMs };

beforeEach(async () => {
  requests = [];
  clock.nowMs = 0;
  answer = serve([first]);
  server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  authUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function serve(keys: readonly unknown[]): (response: ServerResponse) => void {
  return (response) => response.end(JSON.stringify({ keys }));
}

function redirectToGoodKeys(response: ServerResponse): void {
  if (response.req.url === "/elsewhere") serve([first, second])(response);
  else response.writeHead(302, { location: "/elsewhere" }).end();
}

function open(more: { timeoutMs?: number } = {}): JwksCache {
  return new JwksCache({
    url: jwksUrlOf(`${authUrl}/`),
    logger,
    clock,
    cooldownMs: 5_000,
    maxAgeMs: 60_000,
    staleAfterMs: 120_000,
    ...more,
  });
}

test("concurrent look-ups lead to one request, later ones to none", async () => {
  const cache = open();
  const found = await Promise.all(Array.from({ length: 20 }, () => cache.findKey(first.kid)));
  expect(found.every((key) => key?.kid === first.kid && key.alg === "ES256")).toBe(true);
  await cache.findKey(first.kid);
  expect(requests).toEqual(["/.well-known/jwks.json"]);
});

test("looks an unknown kid up at most once per cooldown", async () => {
  const cache = open();
  await cache.findKey(first.kid);
  answer = serve([first, second]);
  clock.nowMs = 4_999;
  expect(await cache.findKey(second.kid)).toBeUndefined();
  expect(requests).toHaveLength(1);
  clock.nowMs = 5_000;
  expect((await cache.findKey(second.kid))?.kid).toBe(second.kid);
  for (let i = 0; i < 20; i++) expect(await cache.findKey(`invented${i}`)).toBeUndefined();
  expect(requests).toHaveLength(2);
});

test("a withdrawn key is gone after the next fetch", async () => {
  const cache = open();
  await cache.findKey(first.kid);
  answer = serve([second]);
  await cache.refresh();
  expect(await cache.findKey(first.kid)).toBeUndefined();
});

test("uses old keys while it fetches in the background", async () => {
  const cache = open();
  await cache.findKey(first.kid);
  clock.nowMs = 60_000;
  answer = serve([first, second]);
  expect((await cache.findKey(first.kid))?.kid).toBe(first.kid);
  await cache.refresh();
  expect(requests).toHaveLength(2);
  expect((await cache.findKey(second.kid))?.kid).toBe(second.kid);
  expect(requests).toHaveLength(2);
});

test("does not use a withdrawn key after its time, even if nobody asked in between", async () => {
  const cache = open();
  await cache.findKey(first.kid);
  answer = serve([second]);
  clock.nowMs = 119_999;
  // Still trusted; the fetch that this starts shows the change.
  expect((await cache.findKey(first.kid))?.kid).toBe(first.kid);
  await cache.refresh();
  expect(await cache.findKey(first.kid)).toBeUndefined();

  const idle = open();
  answer = serve([first]);
  clock.nowMs = 200_000;
  await idle.findKey(first.kid);
  answer = serve([second]);
  clock.nowMs = 320_000;
  expect(await idle.findKey(first.kid)).toBeUndefined();
});

test("uses stale keys while the issuer is down, without waiting for it each time", async () => {
  const cache = open({ timeoutMs: 1_500 });
  await cache.findKey(first.kid);
  answer = (response) => void response.destroy();
  clock.nowMs = 120_000;
  const before = requests.length;
  for (let i = 0; i < 5; i++) expect((await cache.findKey(first.kid))?.kid).toBe(first.kid);
  // Once; on a connection that was kept, once more on a new one.
  expect(requests.length - before).toBeLessThanOrEqual(2);
});

test.each<[string, (response: ServerResponse) => void]>([
  ["an error", (response) => void response.writeHead(500).end("{}")],
  ["invalid JSON", (response) => void response.end("<html>")],
  ["no key set", (response) => void response.end("[]")],
  ["null", (response) => void response.end("null")],
  ["an empty key set", serve([])],
  ["only refused keys", serve([{ kid: "s", kty: "oct", k: "AAAA" }])],
  ["a redirect, even to good keys", redirectToGoodKeys],
  ["too much", (response) => void response.end(JSON.stringify({ keys: [first], pad: "x".repeat(70_000) }))],
  ["a cut connection", (response) => void response.destroy()],
  ["nothing in time", () => undefined],
  ["a body that never ends", (response) => void response.write('{"keys":')],
])("after %s the last good keys stay, and an unknown one is not called wrong", async (_what, bad) => {
  const cache = open({ timeoutMs: 1_500 });
  await cache.findKey(first.kid);
  answer = bad;
  clock.nowMs = 5_000;
  await expect(cache.findKey(second.kid)).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
  expect((await cache.findKey(first.kid))?.kid).toBe(first.kid);
  // Still within the cooldown: no request, and still unknown.
  const before = requests.length;
  await expect(cache.findKey(second.kid)).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
  expect(requests).toHaveLength(before);
});

test("takes good keys among bad ones, the first of two with one kid", async () => {
  const twin = { ...second, kid: first.kid };
  answer = serve([{ kid: "s", kty: "oct", k: "AAAA" }, null, first, twin, second]);
  const cache = open();
  const key = await cache.findKey(first.kid);
  expect(key?.key.export({ format: "jwk" })).toMatchObject({ x: first.x });
  expect(await cache.findKey("s")).toBeUndefined();
  expect((await cache.findKey(second.kid))?.kid).toBe(second.kid);
});

test("reports refused keys once, and counts them; those beyond 64, too", async () => {
  const lines: unknown[] = [];
  const note = (fields: unknown, text: string): void => void lines.push([text, fields]);
  const noting = Object.assign(createLogger({ service: "test", level: "silent" }), {
    warn: note,
    info: note,
  });
  const cache = new JwksCache({ url: jwksUrlOf(authUrl), logger: noting, clock, cooldownMs: 1 });
  const fetchAgain = async (): Promise<void> => {
    clock.nowMs += 60_000;
    await cache.refresh();
  };
  answer = serve([first, { kty: "oct" }, ...Array.from({ length: 70 }, () => second)]);
  for (let i = 0; i < 5; i++) await fetchAgain();
  const reason = "there are more than 64: only the first are taken";
  expect(lines).toEqual([
    [
      "jwks: some keys are not accepted",
      expect.objectContaining({ count: 70, reasons: expect.arrayContaining([reason]) as unknown }),
    ],
  ]);
  expect(cache.keyCounts).toEqual({ taken: 2, leftOut: 70 });
  answer = serve([first]);
  await fetchAgain();
  expect(lines.slice(1)).toEqual([["jwks: all keys are accepted again", { url: jwksUrlOf(authUrl) }]]);
  expect(cache.keyCounts).toEqual({ taken: 1, leftOut: 0 });
});

test("reports an unreachable issuer once, with the cause; it matters only if there are no keys", async () => {
  const lines: { readonly reason?: string }[] = [];
  const note = (fields: { readonly reason?: string }): void => void lines.push(fields);
  const noting = Object.assign(createLogger({ service: "test", level: "silent" }), {
    warn: note,
    info: note,
  });
  const cache = new JwksCache({ url: jwksUrlOf(authUrl), logger: noting, clock, cooldownMs: 1 });
  answer = (response) => response.destroy();
  await cache.check();
  await cache.refresh();
  for (let i = 0; i < 5; i++) {
    clock.nowMs += 60_000;
    await cache.refresh();
  }
  expect(lines).toHaveLength(1);
  expect(lines[0]?.reason).toBe("socket hang up");
  await expect(cache.check()).rejects.toThrow("socket hang up");
  answer = serve([first]);
  clock.nowMs += 60_000;
  await cache.refresh();
  await cache.check();
  expect(cache.problem).toBeUndefined();
  answer = (response) => response.destroy();
  clock.nowMs += 60_000;
  await cache.refresh();
  expect(cache.problem).toContain("socket hang up");
  // A fetch serves those who have come before it ends.
  await cache.check();
});

test("an unchanged key stays the same object; another one under its kid does not", async () => {
  const cache = open();
  const before = await cache.findKey(first.kid);
  answer = serve([second, first]);
  await cache.refresh();
  expect(await cache.findKey(second.kid)).toBeDefined();
  expect(await cache.findKey(first.kid)).toBe(before);
  answer = serve([{ ...second, kid: first.kid }]);
  await cache.refresh();
  const after = await cache.findKey(first.kid);
  expect(after).toBeDefined();
  expect(after).not.toBe(before);
});
