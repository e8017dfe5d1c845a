// Tests how many messages a key may send, and a user may get, as producers see it.
// Guarantees: counts messages, not requests; refuses whole requests before anything is stored; the headers say when to
// retry.
import { afterEach, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
afterEach(() => collect.close());

const to = (user: string) => ({ to: { user }, data: 1 });
const batchOf = (count: number, user = "ada") => ({
  messages: Array.from({ length: count }, () => to(user)),
});
const limited = { error: { code: "PETREL_RATE_LIMITED", retryable: true } };
const post = (body: unknown, as?: string) =>
  collect.ask("POST", "/v1/messages", { body, ...(as === undefined ? {} : { as }) });
const postBatch = (body: unknown) => collect.ask("POST", "/v1/messages/batch", { body });
const stored = async (user = "ada"): Promise<number> => (await collect.inboxOf(user)).length;

test("refuses a key over its limit with the limit's headers and stores nothing", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  const first = await postBatch(batchOf(9));
  expect(first.status).toBe(202);
  expect(first.headers).toMatchObject({
    "ratelimit-policy": '"messages";q=10;w=10;qu="messages"',
    ratelimit: expect.stringMatching(/^"messages";r=1;t=1[01]$/) as string,
  });
  // 2 do not fit, 1 does: the refused request has cost nothing.
  const two = await postBatch(batchOf(2));
  expect(two.status).toBe(429);
  expect(two.body).toMatchObject(limited);
  expect((await post(to("ada"))).status).toBe(202);
  const over = await post(to("ada"));
  expect(over.status).toBe(429);
  expect(over.body).toMatchObject(limited);
  expect(over.headers["ratelimit-policy"]).toBe('"messages";q=10;w=10;qu="messages"');
  const seconds = Number(over.headers["retry-after"]);
  expect(seconds).toBeGreaterThanOrEqual(1);
  expect(seconds).toBeLessThanOrEqual(11);
  expect(over.headers["ratelimit"]).toBe(`"messages";r=0;t=${seconds}`);
  expect(await stored()).toBe(10);
});

test("does not affect another key", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  await postBatch(batchOf(10));
  expect((await post(to("ada"))).status).toBe(429);
  const other = await collect.producer("bank", ["send"]);
  expect((await post(to("ada"), other)).status).toBe(202);
});

test("a key's own limit may be unlimited, or 0 for none at all", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  const unlimited = await collect.producer("bank", ["send"], "unlimited");
  for (let i = 0; i < 3; i++) {
    expect(
      (await collect.ask("POST", "/v1/messages/batch", { body: batchOf(10), as: unlimited })).status,
    ).toBe(202);
  }
  const before = await stored();
  const nothing = await collect.producer("shop-window", ["send"], 0);
  for (const ask of [
    () => post(to("ada"), nothing),
    () => collect.ask("POST", "/v1/messages/batch", { body: batchOf(2), as: nothing }),
  ]) {
    expect(await ask()).toMatchObject({ status: 403, body: { error: { code: "PETREL_FORBIDDEN" } } });
  }
  expect(await stored()).toBe(before);
});

test("counts each recipient of a list, and repeats too", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  const list = { to: { users: ["a", "b", "c", "d"] }, data: 1, idempotencyKey: "k" };
  expect((await post(list)).status).toBe(202);
  expect((await post(list)).status).toBe(202);
  expect((await post(list)).status).toBe(429);
  expect((await postBatch({ messages: [to("a"), { to: { users: ["a", "b"] }, data: 1 }] })).status).toBe(429);
  expect((await postBatch(batchOf(2))).status).toBe(202);
});

test("does not count a bad entry's recipients; a batch of bad entries counts as one request", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  const bad = { to: { user: "ada" } };
  expect((await postBatch({ messages: [bad, bad, bad, to("ada")] })).status).toBe(202);
  for (let i = 0; i < 9; i++) expect((await postBatch({ messages: [bad, bad] })).status).toBe(202);
  expect((await postBatch({ messages: [bad] })).status).toBe(429);
});

test("refuses more in one request than the key may ever send, as not retryable", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  const answer = await postBatch(batchOf(11));
  expect(answer.status).toBe(400);
  expect(answer.body).toMatchObject({
    error: {
      code: "PETREL_INVALID_REQUEST",
      retryable: false,
      details: { field: "body/messages", limit: 10, windowSeconds: 10 },
    },
  });
  expect((await postBatch(batchOf(10))).status).toBe(202);
});

test("refuses a key known to be over its limit before reading its body", async () => {
  collect = await openCollect({ messagesPerKey: 1 });
  await postBatch(batchOf(10));
  await post(to("ada"));
  const garbage = await collect.ask("POST", "/v1/messages", { raw: "{ not JSON" });
  expect(garbage.status).toBe(429);
  expect(garbage.headers["ratelimit"]).toMatch(/^"messages";r=0;t=\d+$/);
});

test("sends no limit headers without a limit", async () => {
  collect = await openCollect();
  const { status, headers } = await postBatch(batchOf(100));
  expect(status).toBe(202);
  expect(headers).not.toHaveProperty("ratelimit");
  expect(headers).not.toHaveProperty("ratelimit-policy");
});

test("refuses only the user over the receive limit: in a batch by entry, in a list by name", async () => {
  collect = await openCollect({ accept: { receiveLimit: 3 } });
  const batch = await postBatch(batchOf(5));
  expect(batch.status).toBe(202);
  const { results } = batch.body as { results: { id?: string; error?: object }[] };
  expect(results.map(({ error }) => error === undefined)).toEqual([true, true, true, false, false]);
  expect(results[4]).toMatchObject({
    error: {
      code: "PETREL_RATE_LIMITED",
      retryable: true,
      status: 429,
      details: { retryAfterSeconds: expect.any(Number) as number },
    },
  });
  const one = await post(to("ada"));
  expect(one.status).toBe(429);
  expect(Number(one.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  const list = await post({ to: { users: ["grace", "ada"] }, data: 1 });
  expect(list.status).toBe(429);
  expect(list.body).toMatchObject({
    error: { code: "PETREL_RATE_LIMITED", details: { stored: [{ user: "grace" }], limited: ["ada"] } },
  });
  expect([await stored("ada"), await stored("grace")]).toEqual([3, 1]);
});

test("answers a repeat of what such a user already has as always", async () => {
  collect = await openCollect({ accept: { receiveLimit: 1 } });
  const first = await post({ ...to("ada"), idempotencyKey: "k" });
  const again = await post({ ...to("ada"), idempotencyKey: "k" });
  expect(again.status).toBe(202);
  expect(again.body).toEqual({ ...(first.body as object), duplicate: true });
  expect((await post(to("ada"))).status).toBe(429);
});
