// Leases: renewed, found missing, taken again; and what happens to them over a suspension or a lost subscription.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { approach, join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

const LEASE_MS = 1_500;

let bench: NodeBench;
let node: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ routeLeaseMs: LEASE_MS, renewing: true });
});
afterEach(() => bench.store.server.signal("SIGCONT"));
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("heartbeats", () => {
  test("keep a route alive over many leases", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    const [member = ""] = await bench.routes(userId);
    const routesKey = bench.keysOf(userId).routes(userId);
    const scores = new Set<string>();
    // Longer than the key is kept after a connect.
    const endMs = performance.now() + 3 * LEASE_MS;
    while (performance.now() < endMs) {
      const score = (await bench.store.redis.zscore(routesKey, member)) ?? "gone";
      scores.add(score);
      expect(Number(score)).toBeGreaterThan(await bench.store.nowMs());
      // The key outlives the lease.
      expect(await bench.store.redis.pexpiretime(routesKey)).toBeGreaterThan(Number(score));
      await pause(50);
    }
    expect(scores.size).toBeGreaterThanOrEqual(4);
    client.close();
  });

  test("find a missing route and register it again with the original connect time; missed messages come", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    const before = await bench.routes(userId);
    await bench.store.redis.del(bench.keysOf(userId).routes(userId));
    await bench.accept(userId, "nobody was there");
    await client.untilMessages(1);
    await waitFor(async () => (await bench.routes(userId)).length === 1, { what: "the route" });
    expect(await bench.routes(userId)).toEqual(before);
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("that fail are tried again with the next batch, not half a lease later", async () => {
    const own = await bench.startNode({ routeLeaseMs: 8_000, renewing: true });
    const userId = newUser();
    const client = await join(own, userId);
    const { redis } = bench.store;
    const routesKey = bench.keysOf(userId).routes(userId);
    const [member = ""] = await bench.routes(userId);
    const refusals = async () =>
      Number(/cmdstat_zadd:.*failed_calls=(\d+)/.exec(await redis.info("commandstats"))?.[1]);
    const before = (await refusals()) || 0;
    const aside = `${routesKey}:aside`;
    await redis.rename(routesKey, aside);
    await redis.set(routesKey, "not a sorted set");
    await waitFor(async () => (await refusals()) > before, { what: "its turn, which fails" });
    const stale = await redis.zscore(aside, member);
    await redis.multi().del(routesKey).rename(aside, routesKey).exec();
    const renewed = async () => (await redis.zscore(routesKey, member)) !== stale;
    // A batch is 200 ms, a round of all of them 4 s.
    await waitFor(renewed, { what: "the renewal", deadlineMs: 2_500 });
    client.close();
  });

  test("find one whose slot others have taken: 4409", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    const routesKey = bench.keysOf(userId).routes(userId);
    const [member = ""] = await bench.routes(userId);
    const later = Date.now() + 600_000;
    // One call: no heartbeat in between.
    await bench.store.redis
      .multi()
      .zrem(routesKey, member)
      .zadd(routesKey, ...range(1, 5).flatMap((n) => [later, `${later + n}/elsewhere/c${n}/web`]))
      .exec();
    expect(await client.untilClosed()).toMatchObject({ code: 4409 });
    expect(client.frames.at(-1)).toMatchObject({ code: "PETREL_CONNECTION_REPLACED" });
    expect(await bench.routes(userId)).toHaveLength(5);
  });

  test("find a user whose epoch has changed: reconnect", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
    await bench.store.redis.del(bench.keysOf(userId).routes(userId));
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no route" });
  });

  test("restore every route in a Redis that lost everything, and tell the clients", async () => {
    const own = await openNodeBench();
    const there = await own.startNode({ routeLeaseMs: LEASE_MS, renewing: true });
    const clients = await Promise.all(range(1, 30).map((n) => join(there, `lost${n}`)));
    await own.store.redis.flushall();
    // Another history: each client is asked to reconnect.
    for (const client of clients) expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    await own.close();
  });
});

test("after a pause longer than half a lease all are registered again and catch up", async () => {
  const own = await bench.startNode({ routeLeaseMs: 60_000, renewing: true });
  const userIds = Array.from({ length: 30 }, newUser);
  const clients = await Promise.all(userIds.map((userId) => join(own, userId)));
  const before = await Promise.all(userIds.map((userId) => bench.routes(userId)));
  for (const userId of userIds) {
    await bench.store.redis.del(bench.keysOf(userId).routes(userId));
    await bench.accept(userId, "during the pause");
  }
  // A beat is a second here, a round of all slots twenty: within a few beats only the suspension can be the cause.
  own.clock.step(31_000);
  await Promise.all(clients.map((client) => client.untilMessages(1, 5_000)));
  expect(await Promise.all(userIds.map((userId) => bench.routes(userId)))).toEqual(before);
  for (const client of clients) client.close();
});

describe("a lost subscription", () => {
  async function killSubscriber(target: PushNode): Promise<void> {
    const list = String(await bench.store.redis.client("LIST"));
    const address = list
      .split("\n")
      .filter((line) => line.includes("name=petrel-push-node-subscriber") && line.includes(`ssub=4`))
      .map((line) => /(?:^| )addr=(\S+)/.exec(line)?.[1] ?? "");
    expect(address.length).toBeGreaterThan(0);
    for (const one of address) await bench.store.redis.client("KILL", "ADDR", one);
    await waitFor(() => !target.subscription.isActive(), { what: "the loss", everyMs: 1 });
  }

  test("messages published meanwhile are delivered in order, and nobody reconnects", async () => {
    const userIds = Array.from({ length: 5 }, newUser);
    const clients = await Promise.all(userIds.map((userId) => join(node, userId)));
    for (const userId of userIds) await bench.acceptMany(userId, 3);
    await Promise.all(clients.map((client) => client.untilMessages(3)));
    await killSubscriber(node);
    // Nobody hears these.
    for (const userId of userIds) await bench.acceptMany(userId, 4);
    await waitFor(() => node.subscription.isActive(), { what: "the subscription" });
    await Promise.all(clients.map((client) => client.untilMessages(7)));
    for (const userId of userIds) await bench.accept(userId, "live again");
    for (const client of clients) {
      await client.untilMessages(8);
      expect(seqsOf(client)).toEqual(range(1, 8));
      expect(client.closed()).toBeUndefined();
      client.close();
    }
  });

  test("a connection that registers while the link is down misses nothing either", async () => {
    const userId = newUser();
    await killSubscriber(node);
    const client = approach(node, { token: `user.${userId}` });
    const accepts = range(1, 20).map((n) => bench.accept(userId, n));
    await Promise.all(accepts);
    await client.untilMessages(20);
    expect(seqsOf(client)).toEqual(range(1, 20));
    client.close();
  });

  test("that returns before the command connection: registration is retried until it succeeds", async () => {
    const impatient = await bench.startNode({ commandTimeoutMs: 1_500 });
    const userId = newUser();
    const client = await join(impatient, userId);
    await bench.store.redis.del(bench.keysOf(userId).routes(userId));
    await bench.accept(userId, "missed");
    const run = vi.spyOn(impatient.scripts, "run");
    bench.store.server.signal("SIGSTOP");
    const renewed = impatient.renewal.renewAll("test");
    await waitFor(() => run.mock.settledResults.filter(({ type }) => type === "rejected").length >= 2, {
      what: "two calls without an answer",
    });
    bench.store.server.signal("SIGCONT");
    await renewed;
    await client.untilMessages(1);
    expect(await bench.routes(userId)).toHaveLength(1);
    client.close();
  });
});
