// Acknowledgements on their way to Redis: batched, clamped, kept while Redis is down.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { approach, join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import { openRaw } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

/** Long enough for a busy machine: only what is stopped or dead takes longer. */
const COMMAND_TIMEOUT_MS = 1_500;

let bench: NodeBench;
let node: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ commandTimeoutMs: COMMAND_TIMEOUT_MS });
});
afterEach(() => {
  bench.store.server.signal("SIGCONT");
  vi.restoreAllMocks();
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function untilAcked(userId: string, seq: number): Promise<void> {
  await waitFor(async () => (await bench.user(userId))["acked"] === String(seq), {
    what: `acked ${seq}`,
    deadlineMs: 15_000,
  });
}

describe("acks to Redis", () => {
  test("many in one turn are one call per partition, with each user's highest", async () => {
    const userIds = Array.from({ length: 20 }, newUser);
    const clients = await Promise.all(userIds.map((userId) => join(node, userId)));
    await Promise.all(userIds.map((userId) => bench.acceptMany(userId, 10)));
    await Promise.all(clients.map((client) => client.untilMessages(10)));
    const run = vi.spyOn(node.scripts, "run");
    const [first] = clients;
    for (let seq = 1; seq <= 10; seq++) first?.ack(seq);
    await untilAcked(userIds[0] ?? "", 10);
    // Ten frames of one write are read in one turn, give or take a packet.
    expect(run.mock.calls.filter(([name]) => name === "ack.v4").length).toBeLessThanOrEqual(3);
    for (const client of clients) client.ack(10);
    for (const userId of userIds) await untilAcked(userId, 10);
    for (const userId of userIds) expect(await bench.isDue(userId)).toBe(false);
    for (const client of clients) client.close();
  });

  test("never move back", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 5);
    await client.untilMessages(5);
    client.ack(4);
    await untilAcked(userId, 4);
    client.ack(2);
    client.ack(0);
    client.send({ type: "ping" });
    await client.frame("pong");
    await node.acks.drained();
    expect(await bench.user(userId)).toMatchObject({ acked: "4" });
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("of one user on two nodes: the highest counts", async () => {
    const userId = newUser();
    const second = await bench.startNode();
    const [a, b] = [await join(node, userId), await join(second, userId)];
    await bench.acceptMany(userId, 6);
    await Promise.all([a.untilMessages(6), b.untilMessages(6)]);
    a.ack(3);
    b.ack(6);
    await untilAcked(userId, 6);
    a.ack(5);
    await node.acks.drained();
    expect(await bench.user(userId)).toMatchObject({ acked: "6" });
    a.close();
    b.close();
  });
});

describe("ack=auto", () => {
  test("acknowledges what the socket accepted: backlog and live", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 150, "dispatch");
    const client = await join(node, userId, { query: "ack=auto" });
    await client.untilMessages(150);
    await untilAcked(userId, 150);
    await bench.accept(userId, "live");
    await client.untilMessages(151);
    await untilAcked(userId, 151);
    client.close();
  });

  test("does not acknowledge what the socket did not accept", async () => {
    const userId = newUser();
    for (let n = 1; n <= 400; n += 8) {
      await Promise.all(
        range(n, n + 7).map((i) => bench.accept(userId, `${i}:`.padEnd(30_000, "x"), "dispatch")),
      );
    }
    const raw = await openRaw({
      port: node.port,
      path: "/v1/connect?ack=auto",
      headers: { authorization: `Bearer user.${userId}` },
    });
    raw.socket.pause();
    const connection = await waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
    let mark = -1;
    await waitFor(
      () => {
        const before = mark;
        mark = connection.movementMark;
        return connection.waitingBytes > 0 && before === mark;
      },
      { what: "a full socket that takes nothing", everyMs: 50 },
    );
    await node.acks.drained();
    // The last page was written to the socket, but the kernel has not accepted all of it.
    const { acked } = await bench.user(userId);
    expect(Number(acked)).toBeGreaterThan(0);
    expect(Number(acked)).toBeLessThan(connection.lastDelivered);
    raw.socket.resume();
    await untilAcked(userId, 400);
    raw.socket.destroy();
  });
});

describe("a foreign epoch", () => {
  test("the ack changes nothing, and the client is asked to reconnect", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 3);
    await client.untilMessages(3);
    await bench.store.redis.hset(bench.keysOf(userId).user(userId), "epoch", "another.0");
    client.ack(3);
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(client.frames.at(-1)).toMatchObject({ type: "reconnect", reason: "PETREL_EPOCH_CHANGED" });
    expect(await bench.user(userId)).toMatchObject({ acked: "0" });
  });

  test("a connection that is behind does not swallow the ack of one that is not", async () => {
    const userId = newUser();
    const old = await join(node, userId);
    await bench.acceptMany(userId, 3, "dispatch");
    await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
    const fresh = await join(node, userId);
    await fresh.untilMessages(3);
    // Both in one turn, the old one's last.
    bench.store.server.signal("SIGSTOP");
    fresh.ack(3);
    old.ack(0);
    for (const client of [fresh, old]) client.send({ type: "ping" });
    await Promise.all([fresh.frame("pong"), old.frame("pong")]);
    bench.store.server.signal("SIGCONT");
    await untilAcked(userId, 3);
    expect(await old.untilClosed()).toMatchObject({ code: 1012 });
    expect(fresh.closed()).toBeUndefined();
    fresh.close();
  });
});

describe("while Redis is away", () => {
  test("keeps acks, the highest of each user, and writes them when it is back", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.acceptMany(userId, 10);
    await client.untilMessages(10);
    const run = vi.spyOn(node.scripts, "run");
    const failures = (): number => run.mock.settledResults.filter(({ type }) => type === "rejected").length;
    bench.store.server.signal("SIGSTOP");
    client.ack(4);
    await waitFor(() => failures() >= 1, { what: "a call without an answer" });
    client.ack(9);
    client.ack(7);
    await waitFor(() => failures() >= 2, { what: "another one" });
    bench.store.server.signal("SIGCONT");
    await untilAcked(userId, 9);
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("retries an ack that could not even be sent until it is written", async () => {
    const cut = await bench.startNode();
    const [userId, other] = [newUser(), newUser()];
    const clients = [await join(cut, userId), await join(cut, other)];
    for (const id of [userId, other]) await bench.acceptMany(id, 5);
    for (const client of clients) await client.untilMessages(5);
    const failed = vi.spyOn(cut.scripts, "run");
    cut.redis.disconnect();
    for (const client of clients) client.ack(3);
    await waitFor(() => failed.mock.calls.length >= 2, { what: "two attempts" });
    clients[0]?.ack(5);
    clients[0]?.ack(4);
    expect(await bench.user(userId)).toMatchObject({ acked: "0" });
    await cut.redis.connect();
    await untilAcked(userId, 5);
    await untilAcked(other, 3);
    for (const client of clients) client.close();
  });

  test("survives a crash and restart on the same port", async () => {
    const directory = await mkdtemp(joinPath(tmpdir(), "petrel-acks-"));
    const own = await openNodeBench({ appendOnly: true, directory, extraArgs: ["--appendfsync", "always"] });
    try {
      const there = await own.startNode({ commandTimeoutMs: COMMAND_TIMEOUT_MS });
      const client = await join(there, "survivor");
      await own.acceptMany("survivor", 10);
      await client.untilMessages(10);
      own.store.server.signal("SIGKILL");
      await own.store.server.exited;
      client.ack(10);
      client.send({ type: "ping" });
      await client.frame("pong");
      const back = await startRedis({
        appendOnly: true,
        directory,
        port: own.store.server.port,
        extraArgs: ["--appendfsync", "always"],
      });
      try {
        // Another master: whoever registers first sees the user's new epoch. Then the ack is of another epoch, and the
        // client is told to reconnect; otherwise it is written, and remains valid.
        await waitFor(
          async () => (await own.user("survivor"))["acked"] === "10" || client.closed()?.code === 1012,
          { what: "the ack, or the new epoch", deadlineMs: 15_000 },
        );
        const again = approach(there, { token: "user.survivor", ack: "each" });
        expect(await again.frame("welcome")).toMatchObject({ seq: 10 });
        await waitFor(async () => (await own.user("survivor"))["acked"] === "10", { what: "acked 10" });
        expect([[], range(1, 10)]).toContainEqual(seqsOf(again));
        expect(seqsOf(client)).toEqual(range(1, 10));
      } finally {
        await own.close().catch(() => undefined);
        await back.stop();
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

test("a user with broken data does not block others", async () => {
  // Of the same partition, so that their acks share a call.
  const partition = bench.keysOf("broken").partition;
  const fine =
    range(1, 50)
      .map((n) => `fine${n}`)
      .find((userId) => bench.keysOf(userId).partition === partition) ?? "";
  const [a, b] = [await join(node, "broken"), await join(node, fine)];
  await bench.acceptMany("broken", 2);
  await bench.acceptMany(fine, 2);
  await Promise.all([a.untilMessages(2), b.untilMessages(2)]);
  await bench.store.redis.set(bench.keysOf("broken").user("broken"), "not a hash");
  bench.store.server.signal("SIGSTOP");
  a.ack(2);
  b.ack(2);
  for (const client of [a, b]) client.send({ type: "ping" });
  await Promise.all([a.frame("pong"), b.frame("pong")]);
  bench.store.server.signal("SIGCONT");
  await untilAcked(fine, 2);
  await node.acks.drained();
  a.close();
  b.close();
});
