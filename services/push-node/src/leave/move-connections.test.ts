// A new generation makes no crowd of returning clients, and no phone rings for it.
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import { createStoppedClock, type SteppedClock } from "../testing/stepped-clock.js";

let bench: NodeBench;
let node: PushNode;
let clock: SteppedClock;

beforeAll(async () => {
  bench = await openNodeBench();
});
beforeEach(async () => {
  await bench.store.redis.flushall();
  // Only the test lets time pass: a moment that has not come does not come by itself.
  clock = createStoppedClock();
  node = await bench.startNode({ clock, drainWindowMs: 60_000, connectsPerSecond: 500 });
});
afterEach(() => node.stop());
afterAll(() => bench.close());

async function becomeAnotherMaster(): Promise<void> {
  for (const { generation } of bench.store.partitions) {
    await bench.store.redis.hset(generation, "replid", "0".repeat(40));
  }
  await node.renewal.renewAll("resubscribed");
}

const wasAsked = (client: WsClient): boolean => client.frames.some(({ type }) => type === "reconnect");
const routesOf = async (userIds: readonly string[]): Promise<string[]> =>
  (await Promise.all(userIds.map((userId) => bench.routes(userId)))).flat();

/** Lets time pass, and makes the node notice it. */
async function pass(ms: number): Promise<void> {
  clock.step(ms);
  await new Promise((resolve) => setTimeout(resolve, 60));
}

async function untilAllClosed(clients: readonly WsClient[]): Promise<void> {
  for (let i = 0; i < 300 && clients.some((client) => client.closed() === undefined); i++) await pass(200);
}

describe("another generation", () => {
  test("asks clients one after another; each stays until its time and has its route", async () => {
    const userIds = range(1, 20).map((n) => `u${n}`);
    const clients = await Promise.all(userIds.map((userId) => join(node, userId)));
    await becomeAnotherMaster();
    await waitFor(() => clients.some(wasAsked), { what: "the first" });
    await pass(0);
    expect(clients.filter(wasAsked)).toHaveLength(1);
    expect(clients.filter((client) => client.closed() !== undefined)).toEqual([]);
    const routes = await routesOf(userIds);
    expect(routes).toHaveLength(20);
    expect(routes.filter((member) => member.includes("/-/"))).toEqual([]);

    // 100 ms each, give or take half of it; time in which the node was suspended is not made up for.
    await pass(500);
    expect(clients.filter(wasAsked).length).toBeLessThanOrEqual(2);
    await untilAllClosed(clients);
    for (const client of clients) {
      expect(await client.untilClosed()).toEqual({ code: 1012, reason: "PETREL_EPOCH_CHANGED" });
      expect(client.frames.at(-1)).toEqual({ type: "reconnect", afterMs: 0, reason: "PETREL_EPOCH_CHANGED" });
    }
  });

  test("moves at once whoever gets a message under the new epoch; the others stay", async () => {
    const clients = await Promise.all(range(1, 10).map((n) => join(node, `u${n}`)));
    await becomeAnotherMaster();
    await waitFor(() => clients.some(wasAsked), { what: "the first" });
    const [client] = clients.filter((one) => !wasAsked(one));
    const index = clients.findIndex((one) => one === client);
    if (client === undefined) throw new Error("all were asked");
    await bench.accept(`u${index + 1}`, "news");
    expect(await client.untilClosed()).toEqual({ code: 1012, reason: "PETREL_EPOCH_CHANGED" });
    expect(client.messages).toEqual([]);
    expect(clients.filter((one) => one.closed() !== undefined)).toEqual([client]);
    const again = await join(node, `u${index + 1}`);
    await again.untilMessages(1);
  });

  test("moves clients with open messages first, and delivers what came meanwhile before", async () => {
    const clients = await Promise.all(range(1, 10).map((n) => join(node, `u${n}`)));
    const [last] = clients.slice(-1);
    if (last === undefined) throw new Error("nobody");
    await bench.accept("u10", "before", "dispatch");
    await becomeAnotherMaster();
    await waitFor(() => wasAsked(last), { what: "the one with an open message" });
    await pass(0);
    // One of each: users with open messages delay nobody, and nobody delays them.
    expect(clients.filter(wasAsked)).toHaveLength(2);
    expect(seqsOf(last)).toEqual([1]);
  });

  test("makes a client with an outdated ack move, instead of leaving at once", async () => {
    const client = await join(node, "u1");
    await bench.accept("u1", "before");
    await client.untilMessages(1);
    await bench.store.redis.hset(bench.keysOf("u1").generation, "replid", "0".repeat(40));
    // The user's next connection has the new epoch.
    const other = await join(node, "u1");
    client.send({ type: "ack", seq: 1 });
    await waitFor(() => wasAsked(client), { what: "the request to move" });
    await pass(900);
    expect(client.closed()).toBeUndefined();
    await pass(200);
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(other.closed()).toBeUndefined();
  });

  test("the new socket beside the old one takes nobody's slot", async () => {
    await node.stop();
    const small = (node = await bench.startNode({ clock, maxConnectionsPerUser: 1 }));
    const client = await join(small, "u1");
    await bench.store.redis.hset(bench.keysOf("u1").generation, "replid", "0".repeat(40));
    await small.renewal.renewAll("resubscribed");
    await waitFor(() => wasAsked(client), { what: "the request to move" });
    const moved = await join(small, "u1");
    // Registering once more in that second, it still counts against nobody.
    await small.renewal.renewAll("resubscribed");
    clock.step(1_100);
    expect(await client.untilClosed()).toEqual({ code: 1012, reason: "PETREL_EPOCH_CHANGED" });
    expect(moved.closed()).toBeUndefined();
    await waitFor(
      async () => (await bench.routes("u1")).filter((member) => !member.includes("/-/")).length === 1,
      { what: "one route, and the grace lease of the other" },
    );
  });

  test("absence is held while they move and while handshakes are refused, then no longer", async () => {
    const { generation } = bench.keysOf("u1");
    const since = async (): Promise<number> => Number(await bench.store.redis.hget(generation, "since"));
    const clients = await Promise.all(range(1, 3).map((n) => join(node, `u${n}`)));
    await becomeAnotherMaster();
    const atFirst = await waitFor(since, { what: "the first word" });
    await waitFor(async () => (await since()) > atFirst, { what: "another word" });
    await untilAllClosed(clients);
    // Nobody is on the way any more: the last word was said when the rest of the time was over.
    await pass(3_500);
    await waitFor(
      async () => {
        const before = await since();
        await new Promise((resolve) => setTimeout(resolve, 1_300));
        return (await since()) === before;
      },
      { what: "silence", deadlineMs: 15_000 },
    );
  });
});
