// A planned stop: all clients are asked to move, each at its own moment, and nothing is lost on the way.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { approach, join, openNodeBench, typesOf, type NodeBench } from "../testing/node-bench.js";
import { openRaw } from "../testing/raw-client.js";

let bench: NodeBench;

beforeAll(async () => {
  bench = await openNodeBench();
});
afterEach(() => bench.store.server.signal("SIGCONT"));
afterAll(() => bench.close());

describe("a drain", () => {
  test("asks each client to move at its own time, closes it a second later with 1012, and leaves no route", async () => {
    const windowMs = 600;
    const node = await bench.startNode({ drainWindowMs: windowMs });
    const userIds = Array.from({ length: 40 }, (_, i) => `mover${i}`);
    const clients = await Promise.all(userIds.map((userId) => join(node, userId)));
    const closedAtMs = new Map<number, number>();
    for (const [i, client] of clients.entries()) {
      client.socket.on("close", () => closedAtMs.set(i, performance.now()));
    }
    const startMs = performance.now();
    const drained = node.drain();

    const moments = await Promise.all(
      clients.map(async (client) => (await client.frame("reconnect"))["afterMs"]),
    );
    // Told at once, all of them: before anybody's moment has come.
    expect(closedAtMs.size).toBe(0);
    for (const client of clients) {
      expect(client.frames.at(-1)).toMatchObject({ type: "reconnect", reason: "PETREL_SHUTTING_DOWN" });
    }
    expect(new Set(moments).size).toBeGreaterThan(20);
    expect(Math.min(...moments.map(Number))).toBeLessThan(windowMs / 4);
    expect(Math.max(...moments.map(Number))).toBeGreaterThan((windowMs * 3) / 4);

    await drained;
    for (const [i, client] of clients.entries()) {
      expect(await client.untilClosed()).toEqual({ code: 1012, reason: "PETREL_SHUTTING_DOWN" });
      // Not before its moment, nor before one that moves on time has its new socket.
      expect((closedAtMs.get(i) ?? 0) - startMs).toBeGreaterThanOrEqual(Number(moments[i]) + 995);
    }
    for (const userId of userIds) {
      // No route, but a grace lease for a user who is about to return: no phone rings.
      for (const member of await bench.routes(userId)) expect(member).toContain("/-/");
    }
    expect(node.registry.size).toBe(0);
  });

  test("spreads the times evenly over the window, whatever the random numbers", async () => {
    const node = await bench.startNode({ drainWindowMs: 1_000 });
    const clients = await Promise.all(Array.from({ length: 20 }, (_, i) => join(node, `even${i}`)));
    const drained = node.drain();
    const moments = await Promise.all(
      clients.map(async (client) => Number((await client.frame("reconnect"))["afterMs"])),
    );
    const sorted = moments.toSorted((a, b) => a - b);
    for (const [i, moment] of sorted.entries()) {
      expect(moment).toBeGreaterThanOrEqual(i * 50);
      expect(moment).toBeLessThan((i + 1) * 50);
    }
    for (const client of clients) client.close();
    await drained;
  });

  test("sends no 1012 to a client that moves on time, and ends with the last client, not with the window", async () => {
    // Waiting for its window would outlast the test.
    const node = await bench.startNode({ drainWindowMs: 600_000 });
    const other = await bench.startNode();
    const clients = await Promise.all(Array.from({ length: 10 }, (_, i) => join(node, `early${i}`)));
    const drained = node.drain();
    for (const [i, client] of clients.entries()) {
      await client.frame("reconnect");
      (await join(other, `early${i}`)).send({ type: "ping" });
      client.close();
    }
    await drained;
    expect(node.closes).not.toContain(1012);
  });

  test("asks a client that is being registered after its welcome, when it can act on it", async () => {
    const node = await bench.startNode({ drainWindowMs: 600 });
    bench.store.server.signal("SIGSTOP");
    const client = approach(node, { token: "user.halfway" });
    await waitFor(() => node.registry.size === 1, { what: "the connection" });
    const drained = node.drain(() => 0.9);
    bench.store.server.signal("SIGCONT");
    await client.frame("reconnect");
    expect(typesOf(client.frames)).toEqual(["welcome", "reconnect"]);
    await drained;
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
  });

  test("keeps delivering during the window, and writes the acks it accepted", async () => {
    const node = await bench.startNode({ drainWindowMs: 800 });
    const client = await join(node, "worker");
    const drained = node.drain(() => 0.99);
    await client.frame("reconnect");
    await bench.accept("worker", "on the way out");
    await client.untilMessages(1);
    client.ack(1);
    await drained;
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(await bench.user("worker")).toMatchObject({ seq: "1", acked: "1" });
  });

  test("writes acks of the very last turn before it ends", async () => {
    const node = await bench.startNode({ drainWindowMs: 0 });
    const client = await join(node, "last-word");
    await bench.acceptMany("last-word", 3);
    await client.untilMessages(3);
    client.socket.on("message", (data: Buffer) => {
      if (data.includes("reconnect")) client.ack(3);
    });
    await node.drain();
    expect(await bench.user("last-word")).toMatchObject({ acked: "3" });
  });

  test("waits for acks that Redis has not taken yet", async () => {
    const node = await bench.startNode({ drainWindowMs: 0 });
    const client = await join(node, "in-flight");
    await bench.acceptMany("in-flight", 3);
    await client.untilMessages(3);
    bench.store.server.signal("SIGSTOP");
    client.ack(3);
    client.send({ type: "ping" });
    await client.frame("pong");
    let isDone = false;
    const drained = node.drain().then(() => {
      isDone = true;
    });
    await client.untilClosed();
    await waitFor(() => node.registry.size === 0, { what: "an empty registry" });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(isDone).toBe(false);
    bench.store.server.signal("SIGCONT");
    await drained;
    expect(await bench.user("in-flight")).toMatchObject({ acked: "3" });
  });

  test("does not wait forever for one that does not answer", async () => {
    const node = await bench.startNode({ drainWindowMs: 0 });
    const raw = await openRaw({ port: node.port, headers: { authorization: "Bearer user.mute" } });
    await waitFor(() => node.registry.size === 1, { what: "the connection" });
    await node.drain();
    // Destroyed by the drain: the answer to a close may take longer.
    await raw.untilGone(1_000);
    await waitFor(async () => (await bench.routes("mute")).length === 0, { what: "no route" });
  });

  test("is done at once on a node without connections; new ones are refused", async () => {
    const node = await bench.startNode({ drainWindowMs: 600_000 });
    await node.drain();
    const client = approach(node, { token: "user.newcomer" });
    await client.untilClosed();
    expect(client.frames).toEqual([]);
  });
});
