// Tests after which closes a user counts as about to return, and what a stopping node's connections leave to their
// users' other devices.
// Guarantees: a whole node on a real Redis, real sockets.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, type NodeBench } from "../testing/node-bench.js";

let bench: NodeBench;
let users = 0;
beforeAll(async () => void (bench = await openNodeBench()));
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;
const isGrace = (member: string): boolean => member.includes("/-/");

/** What stands in the routes once the connection's own is gone. */
async function leftBehind(userId: string): Promise<string[]> {
  let left: string[] = [];
  await waitFor(
    async () => {
      left = await bench.routes(userId);
      return left.every(isGrace);
    },
    { what: "the route to be gone" },
  );
  return left;
}

describe("a grace lease is left by", () => {
  test.each([1001, 3000, 4000])("a client that closes with %i", async (code) => {
    const node = await bench.startNode();
    const userId = newUser();
    (await join(node, userId)).socket.close(code);
    expect(await leftBehind(userId)).toHaveLength(1);
  });

  test("a socket that is cut", async () => {
    const node = await bench.startNode();
    const userId = newUser();
    (await join(node, userId)).socket.terminate();
    expect(await leftBehind(userId)).toHaveLength(1);
  });

  test("a close of ours that asks to come back", async () => {
    const node = await bench.startNode({ outboundBoundBytes: 1 });
    const userId = newUser();
    const client = await join(node, userId);
    for (const connection of node.registry.ofUser(userId)) connection.reconnect(0, "PETREL_EPOCH_CHANGED");
    await client.untilClosed();
    expect(await leftBehind(userId)).toHaveLength(1);
  });
});

describe("no grace lease is left by", () => {
  test("a sign-out: 1000", async () => {
    const node = await bench.startNode();
    const userId = newUser();
    (await join(node, userId)).socket.close(1000);
    expect(await leftBehind(userId)).toEqual([]);
  });

  test("a close of ours that tells the client to stop: here a bad frame, 4400", async () => {
    const node = await bench.startNode();
    const userId = newUser();
    const client = await join(node, userId);
    client.sendText("{");
    expect((await client.untilClosed()).code).toBe(4400);
    expect(await leftBehind(userId)).toEqual([]);
  });

  test("a connection replaced by newer ones", async () => {
    const node = await bench.startNode({ maxConnectionsPerUser: 1 });
    const userId = newUser();
    const first = await join(node, userId);
    await join(node, userId);
    expect((await first.untilClosed()).code).toBe(4409);
    await waitFor(() => [...node.registry.ofUser(userId)].length === 1, { what: "the first to be gone" });
    expect((await bench.routes(userId)).filter(isGrace)).toEqual([]);
  });

  test("a node configured to leave none", async () => {
    const node = await bench.startNode({ routeGraceMs: 0 });
    const userId = newUser();
    (await join(node, userId)).socket.close(1001);
    expect(await leftBehind(userId)).toEqual([]);
  });
});

test("a client that moves while its node stops does not use another device's slot", async () => {
  const limit = { maxConnectionsPerUser: 2, drainWindowMs: 3_000 };
  const [stopping, other] = await Promise.all([bench.startNode(limit), bench.startNode(limit)]);
  const userId = newUser();
  const elder = await join(other, userId);
  const mover = await join(stopping, userId);
  const drained = stopping.drain();
  await mover.frame("reconnect");
  const moved = await join(other, userId);
  expect(mover.closed()).toBeUndefined();
  mover.close();
  await drained;
  // Had the elder been put out, its close would have come before the answer to this.
  elder.send({ type: "ping" });
  await elder.frame("pong");
  expect(elder.closed()).toBeUndefined();
  expect(moved.closed()).toBeUndefined();
});
