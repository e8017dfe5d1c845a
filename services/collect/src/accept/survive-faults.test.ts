// Tests collect while Redis is paused, gone, or full, and while answers are lost.
// Guarantees: in time, 202 for what is stored, 503 for what is not known to be; one message is never stored twice.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageAccepter, MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, expect, test } from "vitest";
import { type OpenCollect, openCollect, type OpenCollectOptions } from "../testing/open-collect.js";

const DEADLINE_MS = 1_500;
/** Long after the deadline, even on a busy machine. */
const LATE_MS = 15_000;
let collect: OpenCollect;

afterEach(async () => {
  collect.store.server.signal("SIGCONT");
  await collect.close();
});

async function open(options: OpenCollectOptions = {}): Promise<void> {
  collect = await openCollect({ acceptDeadlineMs: DEADLINE_MS, ...options });
  // Caches the producer's key, because what follows is about messages.
  expect((await send("warm-up", 0)).status).toBe(202);
}

const send = (user: string, data: unknown, rest: Record<string, unknown> = {}) =>
  collect.ask("POST", "/v1/messages", { body: { to: { user }, data, ...rest } });

const publish = (topic: string, data: unknown, rest: Record<string, unknown> = {}) =>
  collect.ask("POST", "/v1/messages", { body: { to: { topic }, data, ...rest } });

async function dataIn(topic: string): Promise<unknown[]> {
  const { body } = await collect.ask("GET", `/v1/topics/${topic}/messages`);
  return (body as { items: { data: unknown }[] }).items.map(({ data }) => data);
}

async function dataOf(userId: string): Promise<unknown[]> {
  return (await collect.inboxOf(userId)).map(({ data }) => JSON.parse(data) as unknown);
}

const unavailable = { status: 503, body: { error: { code: "PETREL_UNAVAILABLE", retryable: true } } };

type Store = Pick<MessageAccepter, "accept">;

/** A store that loses the first answer for some messages, before or after storing them. */
function losing(
  when: "before" | "after",
  times: number,
  of: (message: MessageToAccept) => boolean,
): { readonly wrapStore: (store: MessageAccepter) => Store; readonly attempts: () => number } {
  const lost = new Map<string, number>();
  let attempts = 0;
  return {
    attempts: () => attempts,
    wrapStore: (store) => ({
      accept: async (message) => {
        attempts++;
        const before = lost.get(message.id) ?? 0;
        const loses = of(message) && before < times;
        if (loses) lost.set(message.id, before + 1);
        if (loses && when === "before") throw new Error("Command timed out");
        const result = await store.accept(message);
        if (loses) throw new Error("Command timed out");
        return result;
      },
    }),
  };
}
const always = (): boolean => true;

test("Redis paused during requests: 503 on every route, within the deadline where messages are stored", async () => {
  await open();
  collect.store.server.signal("SIGSTOP");
  let readsAnswered = 0;
  const reads = (
    [
      ["GET", "/v1/messages/p0_aaaaaaaaaaaaaaaaaaaaaa"],
      ["GET", "/v1/users/ada/messages"],
      ["GET", "/v1/users/ada/presence"],
      ["POST", "/v1/users/ada/disconnect"],
      ["GET", "/v1/topics/news"],
      ["GET", "/v1/topics/news/messages"],
      ["GET", "/v1/users/ada/topics"],
    ] as const
  ).map(([method, url]) => collect.ask(method, url).finally(() => readsAnswered++));
  const [single, published, kept, batch, ready] = await Promise.all([
    send("ada", 1),
    publish("news", 1),
    collect.ask("PUT", "/v1/users/ada/topics/news"),
    collect.ask("POST", "/v1/messages/batch", { body: { messages: [{ to: { user: "ada" }, data: 1 }] } }),
    collect.ask("GET", "/health/ready"),
  ]);
  // The link for reads waits five seconds for an answer; senders are told earlier, after DEADLINE_MS.
  expect(readsAnswered).toBe(0);
  expect(single).toMatchObject(unavailable);
  expect(published).toMatchObject(unavailable);
  expect(kept).toMatchObject(unavailable);
  for (const { headers } of [single, published, kept])
    expect(Number(headers["retry-after"])).toBeGreaterThanOrEqual(1);
  expect(batch).toMatchObject({ status: 202, body: { results: [{ error: { status: 503 } }] } });
  expect(ready).toMatchObject({ status: 503, body: { status: "not ready" } });
  for (const answer of await Promise.all(reads)) expect(answer).toMatchObject(unavailable);
});

test("Redis gone: 503 within the deadline, for a stranger too", async () => {
  await open();
  const stranger = await collect.producer("stranger", ["send"]);
  collect.store.server.signal("SIGKILL");
  await collect.store.server.exited;
  const answer = send("ada", 1);
  const late = sleep(LATE_MS, "too late", { ref: false });
  expect(await Promise.race([answer, late])).toMatchObject(unavailable);
  const body = { to: { user: "ada" }, data: 1 };
  expect(await collect.ask("POST", "/v1/messages", { body, as: stranger })).toMatchObject(unavailable);
  expect((await collect.ask("GET", "/health/ready")).status).toBe(503);
  expect((await collect.ask("GET", "/health/live")).status).toBe(200);
});

test("Redis paused for less than the deadline: stored once, not reported as a duplicate", async () => {
  const watch = losing("after", 0, always);
  await open({ acceptDeadlineMs: 5_000, wrapStore: watch.wrapStore });
  collect.store.server.signal("SIGSTOP");
  const answer = send("ada", 1);
  const before = watch.attempts();
  await waitFor(() => watch.attempts() >= before + 2, { what: "the second attempt", everyMs: 5 });
  collect.store.server.signal("SIGCONT");
  expect(await answer).toMatchObject({ status: 202, body: { duplicate: false } });
  expect(await dataOf("ada")).toEqual([1]);
});

test("Redis killed and restarted within the deadline: no request fails", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-collect-"));
  try {
    await open({ acceptDeadlineMs: 10_000, redis: { directory, appendOnly: true } });
    const { server } = collect.store;
    server.signal("SIGKILL");
    await server.exited;
    const answer = send("ada", 1);
    const again = await startRedis({ directory, appendOnly: true, port: server.port });
    expect(await answer).toMatchObject({ status: 202, body: { duplicate: false } });
    await waitFor(() => collect.store.redis.ping(), { what: "the test's own connection to be back" });
    expect(await dataOf("warm-up")).toEqual([0]);
    expect(await dataOf("ada")).toEqual([1]);
    await again.stop();
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("after a lost answer: sent again with the same id, stored once, not reported as a duplicate", async () => {
  await open({ wrapStore: losing("after", 2, ({ userId }) => userId.startsWith("lost")).wrapStore });
  expect(await send("lost.1", 1)).toMatchObject({ status: 202, body: { duplicate: false } });
  expect(await dataOf("lost.1")).toEqual([1]);

  const keyed = await send("lost.2", 2, { idempotencyKey: "k" });
  expect(keyed).toMatchObject({ status: 202, body: { duplicate: false } });
  expect(await send("lost.2", 2, { idempotencyKey: "k" })).toMatchObject({
    status: 202,
    body: { id: (keyed.body as { id: string }).id, duplicate: true },
  });
  expect(await dataOf("lost.2")).toEqual([2]);
});

test("after a lost answer to a topic: sent again with the same id, published once, in order, not reported as a duplicate", async () => {
  const lost = new Map<string, number>();
  await open({
    wrapPublisher: (publisher) => ({
      publish: async (message, request) => {
        const result = await publisher.publish(message, request);
        const before = lost.get(message.id) ?? 0;
        lost.set(message.id, before + 1);
        if (before < 2) throw new Error("Command timed out");
        return result;
      },
    }),
  });
  const messages = Array.from({ length: 20 }, (_, i) => ({ to: { topic: "news" }, data: i }));
  const answer = await collect.ask("POST", "/v1/messages/batch", { body: { messages } });
  expect(answer.status).toBe(202);
  const { results } = answer.body as { results: { duplicate: boolean }[] };
  expect(results.map(({ duplicate }) => duplicate)).toEqual(messages.map(() => false));
  expect(await dataIn("news")).toEqual(messages.map(({ data }) => data));
  expect([...lost.values()]).toEqual(messages.map(() => 3));

  expect(await publish("news", "keyed", { idempotencyKey: "k" })).toMatchObject({
    body: { duplicate: false },
  });
  expect(await publish("news", "keyed", { idempotencyKey: "k" })).toMatchObject({
    body: { duplicate: true },
  });
});

test("retried messages keep their order", async () => {
  await open({ wrapStore: losing("before", 2, ({ userId }) => userId === "ada").wrapStore });
  const messages = Array.from({ length: 40 }, (_, i) => ({ to: { user: "ada" }, data: i }));
  const answer = await collect.ask("POST", "/v1/messages/batch", { body: { messages } });
  expect(answer.status).toBe(202);
  expect(await dataOf("ada")).toEqual(messages.map(({ data }) => data));
});

test("if part of a list cannot be stored, the 503 names what is, and the same list again completes it", async () => {
  let isBroken = true;
  const { wrapStore } = losing("before", 100, ({ userId }) => isBroken && userId === "list.1");
  await open({ wrapStore });
  const body = { to: { users: ["list.0", "list.1", "list.2"] }, data: 1, idempotencyKey: "k" };
  const refused = await collect.ask("POST", "/v1/messages", { body });
  expect(refused).toMatchObject({
    ...unavailable,
    body: { error: { details: { stored: [{ user: "list.0" }, { user: "list.2" }] } } },
  });
  expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  isBroken = false;
  const answer = await collect.ask("POST", "/v1/messages", { body });
  expect(answer).toMatchObject({
    status: 202,
    body: {
      results: [
        { user: "list.0", duplicate: true },
        { user: "list.1", duplicate: false },
        { user: "list.2", duplicate: true },
      ],
    },
  });
  const { stored } = (refused.body as { error: { details: { stored: { id: string }[] } } }).error.details;
  const { results } = answer.body as { results: { id: string }[] };
  expect(stored.map(({ id }) => id)).toEqual([results[0]?.id, results[2]?.id]);
  for (const { user } of [{ user: "list.0" }, { user: "list.1" }, { user: "list.2" }]) {
    expect(await dataOf(user)).toEqual([1]);
  }
});

test("Redis out of memory: 503 at once, nothing is stored", async () => {
  // Waiting for this deadline would outlast the test.
  await open({ acceptDeadlineMs: 60_000 });
  await collect.store.redis.config("SET", "maxmemory", "1mb");
  for (const answer of [await send("ada", 1), await publish("news", 1)]) {
    expect(answer).toMatchObject(unavailable);
    expect(answer.headers["retry-after"]).toBe("5");
  }
  expect(await collect.ask("PUT", "/v1/users/ada/topics/news")).toMatchObject(unavailable);
  await collect.store.redis.config("SET", "maxmemory", "0");
  expect(await dataOf("ada")).toEqual([]);
  expect(await dataIn("news")).toEqual([]);
  expect((await send("ada", 2)).status).toBe(202);
});

test("too large a backlog for dispatchers: 503 at once, nothing is stored", async () => {
  await open({ accept: { readyCap: 2, handOver: "dispatch" }, acceptDeadlineMs: 60_000 });
  for (let i = 0; i < 10; i++) await send("ada", i);
  const answer = await send("ada", "more");
  expect(answer).toMatchObject(unavailable);
  expect(answer.headers["retry-after"]).toBe("5");
  expect((await dataOf("ada")).length).toBeLessThanOrEqual(2);
});

test("a stop answers requests in progress, then closes", async () => {
  const watch = losing("after", 0, always);
  await open({ acceptDeadlineMs: 10_000, wrapStore: watch.wrapStore });
  const key = await collect.producer("http", ["send"]);
  const post = (data: unknown): Promise<Response> =>
    fetch(`${collect.address}/v1/messages`, {
      method: "POST",
      headers: { authorization: key, "content-type": "application/json" },
      body: JSON.stringify({ to: { user: "ada" }, data }),
    });
  expect((await post(1)).status).toBe(202);
  collect.store.server.signal("SIGSTOP");
  const before = watch.attempts();
  const begun = post(2);
  await waitFor(() => watch.attempts() > before, { what: "the request to reach the store" });
  const closed = collect.app.close();
  await waitFor(() => !collect.app.server.listening, { what: "the server to stop listening" });
  collect.store.server.signal("SIGCONT");
  const answer = await begun;
  expect(answer.status).toBe(202);
  await closed;
  expect(await dataOf("ada")).toEqual([1, 2]);
});
