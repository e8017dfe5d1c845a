// What else arrives on a node's channel: nudges, evictions, operators' requests.
import { encodeDisconnect } from "@petrel/shared/protocol/messages/node-messages";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function tell(userId: string, text: string): Promise<void> {
  expect(await bench.store.redis.spublish(bench.keysOf(userId).channel + node.nodeId, text)).toBe(1);
}

describe("a nudge", () => {
  test("reads the inbox to its end, although its length is unknown", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 350, "dispatch");
    await tell(userId, `nudge\n${userId}`);
    await client.untilMessages(350);
    expect(seqsOf(client)).toEqual(range(1, 350));
    client.close();
  });

  test("reads to its end even if pages are cut by size", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    for (let n = 1; n <= 12; n++) await bench.accept(userId, `${n}:`.padEnd(50_000, "x"), "dispatch");
    await tell(userId, `nudge\n${userId}`);
    await client.untilMessages(12, 3_000);
    expect(seqsOf(client)).toEqual(range(1, 12));
    client.close();
  });

  test("repeats the highest ack", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 5);
    await client.untilMessages(5);
    client.ack(5);
    await waitFor(async () => (await bench.user(userId))["acked"] === "5", { what: "the ack" });
    // It gets lost.
    await bench.store.redis.hset(bench.keysOf(userId).user(userId), "acked", "2");
    await tell(userId, `nudge\n${userId}`);
    await waitFor(async () => (await bench.user(userId))["acked"] === "5", { what: "the ack again" });
    client.close();
  });

  test("acknowledges nothing that the client did not", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 5);
    await client.untilMessages(5);
    client.ack(3);
    await waitFor(async () => (await bench.user(userId))["acked"] === "3", { what: "the ack" });
    await tell(userId, `nudge\n${userId}`);
    await node.acks.drained();
    await bench.store.redis.ping();
    expect(await bench.user(userId)).toMatchObject({ acked: "3" });
    expect(client.messages).toHaveLength(5);
    client.close();
  });
});

describe("closing", () => {
  test("an eviction closes only that connection", async () => {
    const userId = newUser();
    const [one, two] = [await join(node, userId), await join(node, userId)];
    const { connection } = await one.frame("welcome");
    await tell(userId, `evict\n${userId}\t${String(connection)}`);
    expect(await one.untilClosed()).toMatchObject({ code: 4409 });
    expect(one.frames.at(-1)).toMatchObject({ code: "PETREL_CONNECTION_REPLACED", action: "stop" });
    two.send({ type: "ping" });
    await two.frame("pong");
    two.close();
  });

  test("a disconnect closes all of that user's, and nobody else's", async () => {
    const [userId, other] = [newUser(), newUser()];
    const clients = [await join(node, userId), await join(node, userId)];
    const bystander = await join(node, other);
    await tell(userId, encodeDisconnect([userId]));
    for (const client of clients) {
      expect(await client.untilClosed()).toMatchObject({ code: 4403 });
      expect(client.frames.at(-1)).toMatchObject({ code: "PETREL_DISCONNECTED", action: "stop" });
    }
    await waitFor(async () => (await bench.routes(userId)).length === 0, { what: "no routes" });
    expect(bystander.closed()).toBeUndefined();
    bystander.close();
  });
});
