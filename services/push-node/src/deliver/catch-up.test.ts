// The one path that brings a connection up to date: slow readers, expired messages, faults of Redis.
import { decodeMessageRecord } from "@petrel/shared/protocol/messages/stored-message";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Connection } from "../connection/connection.js";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import { openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let users = 0;

const BOUND_BYTES = 64 * 1024;
/** Long enough for a busy machine. */
const COMMAND_TIMEOUT_MS = 1_500;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({
    outboundBoundBytes: BOUND_BYTES,
    slowTimeoutMs: 3_000,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
  });
});
afterEach(() => {
  bench.store.server.signal("SIGCONT");
  vi.restoreAllMocks();
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;
const large = (n: number): string => `${n}:`.padEnd(30_000, "x");

async function connectionOf(userId: string): Promise<Connection> {
  return waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
}

/** A client that stops reading once it is welcome. */
async function sleeper(userId: string): Promise<{ raw: RawClient; connection: Connection }> {
  const raw = await openRaw({ port: node.port, headers: { authorization: `Bearer user.${userId}` } });
  raw.socket.pause();
  return { raw, connection: await connectionOf(userId) };
}

/** Resolves when something waits in the socket and the kernel takes no more of it, or when all has been sent. */
async function untilStuck(connection: Connection, count: number): Promise<void> {
  let mark = -1;
  await waitFor(
    () => {
      const before = mark;
      mark = connection.movementMark;
      return connection.lastSent === count || (connection.waitingBytes > 0 && before === mark);
    },
    { what: "a socket that takes nothing", everyMs: 40 },
  );
}

function messagesOf(raw: RawClient): { seq: number; data: string }[] {
  return raw
    .frames()
    .filter(({ opcode }) => opcode === 1)
    .map(({ payload }) => JSON.parse(payload.toString()) as { type: string; seq: number; data: string })
    .filter(({ type }) => type === "message");
}

async function tickFor(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    node.clock.step(1_000);
    node.watch.tick();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function acceptLarge(userId: string, from: number, to: number, handOver: "accept" | "dispatch") {
  for (let n = from; n <= to; n += 8) {
    await Promise.all(range(n, Math.min(to, n + 7)).map((i) => bench.accept(userId, large(i), handOver)));
  }
}

describe("a slow reader", () => {
  test("gets a backlog far larger than the bound completely, in order, without a 4408; memory stays bounded", async () => {
    const userId = newUser();
    const count = 400;
    await acceptLarge(userId, 1, count, "dispatch");
    const { raw, connection } = await sleeper(userId);
    // The kernel takes some megabytes; then the socket is full.
    await waitFor(() => connection.waitingBytes > 0, { what: "a full socket" });
    let mostWaiting = 0;
    while (raw.socket.bytesRead < count * 30_000) {
      // It reads a megabyte, then sleeps for two seconds of the watch's three.
      const enough = Math.min(raw.socket.bytesRead + 1_000_000, count * 30_000);
      raw.socket.resume();
      await waitFor(() => raw.socket.bytesRead >= enough, { what: "a megabyte", everyMs: 1 });
      raw.socket.pause();
      await untilStuck(connection, count);
      await tickFor(2);
      mostWaiting = Math.max(mostWaiting, connection.waitingBytes);
    }
    raw.socket.resume();
    await waitFor(() => messagesOf(raw).length === count, { what: "all messages", everyMs: 200 });
    expect(messagesOf(raw).map(({ seq }) => seq)).toEqual(range(1, count));
    expect(mostWaiting).toBeLessThan(3 * BOUND_BYTES);
    expect(connection.isOpen).toBe(true);
    raw.socket.destroy();
  });

  test("gets live messages beyond the bound later instead of having them buffered", async () => {
    const userId = newUser();
    const { raw, connection } = await sleeper(userId);
    await waitFor(() => connection.phase === "live", { what: "a live connection" });
    let mostWaiting = 0;
    for (let n = 1; n <= 400; n += 8) {
      await acceptLarge(userId, n, n + 7, "accept");
      mostWaiting = Math.max(mostWaiting, connection.waitingBytes);
    }
    await waitFor(() => connection.waitingBytes > 0 && connection.phase === "catching-up", {
      what: "the fall back to catching up",
    });
    // One batch of eight may come on top of the bound.
    expect(mostWaiting).toBeLessThan(BOUND_BYTES + 9 * 31_000 + BOUND_BYTES);
    raw.socket.resume();
    await waitFor(() => raw.socket.bytesRead > 400 * 30_000, { what: "all bytes", deadlineMs: 20_000 });
    await waitFor(() => messagesOf(raw).length === 400, { what: "all messages", everyMs: 200 });
    expect(messagesOf(raw).map(({ seq }) => seq)).toEqual(range(1, 400));
    await waitFor(() => connection.phase === "live", { what: "a live connection again" });
    raw.socket.destroy();
  });

  test("that never reads: 4408 after its time, then a cut", async () => {
    const userId = newUser();
    await acceptLarge(userId, 1, 400, "dispatch");
    const { raw, connection } = await sleeper(userId);
    await waitFor(() => connection.waitingBytes > 0, { what: "a full socket" });
    await untilStuck(connection, 400);
    await tickFor(3);
    expect(connection.isOpen).toBe(true);
    await tickFor(2);
    expect(connection.isOpen).toBe(false);
    expect(connection.waitingBytes).toBeLessThan(3 * BOUND_BYTES);
    const before = node.closes.length;
    await tickFor(5);
    // Destroyed by the watch: the answer to a close may take longer.
    await waitFor(() => node.closes.length > before, { what: "the cut", deadlineMs: 1_000 });
    expect([...node.registry.ofUser(userId)]).toEqual([]);
    // What it missed is still there.
    raw.socket.destroy();
    const again = await join(node, userId);
    await again.untilMessages(400);
    expect(seqsOf(again)).toEqual(range(1, 400));
    again.close();
  });
});

describe("expired messages", () => {
  test("are skipped after their end is written; the user leaves `due` when the rest is acked", async () => {
    const userId = newUser();
    const ids = ["x1", "keep2", "x3", "keep4", "x5"].map((name) => `${name}_${userId}`);
    for (const id of ids) {
      await bench.accept(userId, id, "dispatch", { id, ttlMs: id.startsWith("x") ? 1 : 60_000 });
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    const client = await join(node, userId);
    await client.untilMessages(2);
    expect(seqsOf(client)).toEqual([2, 4]);
    expect(await bench.isDue(userId)).toBe(true);
    for (const id of ids) {
      const record = (await bench.store.redis.get(bench.keysOf(userId).record(id))) ?? "";
      expect([id, decodeMessageRecord(record).end?.state]).toEqual([
        id,
        id.startsWith("x") ? "expired" : undefined,
      ]);
    }
    for (const id of ids) {
      const { state } = (await readMessage(bench.store.scripts, bench.keysOf(userId), id)) ?? {};
      expect([id, state]).toEqual([id, id.startsWith("x") ? "expired" : "queued"]);
    }
    client.ack(4);
    await waitFor(async () => !(await bench.isDue(userId)), { what: "nothing due" });
    expect(await bench.user(userId)).toMatchObject({ seq: "5", acked: "5" });
    for (const id of ids) {
      const { state } = (await readMessage(bench.store.scripts, bench.keysOf(userId), id)) ?? {};
      expect([id, state]).toEqual([id, id.startsWith("x") ? "expired" : "delivered"]);
    }
    client.close();
  });

  test("and what has waited long is found by its id when acknowledged, though no dispatcher has checked it", async () => {
    const userId = newUser();
    const keys = bench.keysOf(userId);
    const { redis, scripts } = bench.store;
    const id = `old_${userId}`;
    await bench.accept(userId, "old", "dispatch", { id, ttlMs: 5 * 86_400_000 });
    const [[entryId, [, value = ""]] = ["", []]] = await redis.xrange(keys.inbox(userId), "-", "+");
    const parts = value.split("\t");
    parts[1] = String(Number(parts[1]) - 26 * 3_600_000);
    await redis.del(keys.inbox(userId), keys.record(id));
    await redis.xadd(keys.inbox(userId), entryId, "m", parts.join("\t"));
    const client = await join(node, userId);
    await client.untilMessages(1);
    client.ack(1);
    await waitFor(async () => !(await bench.isDue(userId)), { what: "nothing due" });
    expect((await readMessage(scripts, keys, id))?.state).toBe("delivered");
    expect(await redis.pttl(keys.record(id))).toBeGreaterThan(86_400_000);
    client.close();
  });

  test("if all have expired, nothing is shown and nobody waits for an ack", async () => {
    const userId = newUser();
    for (let n = 1; n <= 3; n++) await bench.accept(userId, n, "dispatch", { ttlMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const client = await join(node, userId);
    await waitFor(async () => !(await bench.isDue(userId)), { what: "nothing due" });
    await bench.accept(userId, "four");
    await client.untilMessages(1);
    expect(seqsOf(client)).toEqual([4]);
    client.close();
  });

  test("a machine whose clock is ahead skips nothing that has not ended", async () => {
    const userId = newUser();
    await bench.accept(userId, "still good", "dispatch", { ttlMs: 30_000 });
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + 7_200_000);
    const client = await join(node, userId);
    await client.untilMessages(1, 2_000);
    vi.restoreAllMocks();
    client.close();
  });

  test("a machine whose clock is behind shows nothing that has ended", async () => {
    const userId = newUser();
    await bench.accept(userId, "over", "dispatch", { ttlMs: 1 });
    await bench.accept(userId, "still good", "dispatch");
    await new Promise((resolve) => setTimeout(resolve, 5));
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() - 7_200_000);
    const client = await join(node, userId);
    await client.untilMessages(1);
    vi.restoreAllMocks();
    expect(seqsOf(client)).toEqual([2]);
    client.close();
  });
});

describe("faults", () => {
  test("a Redis that does not answer costs time, nothing else", async () => {
    const userId = newUser();
    await acceptLarge(userId, 1, 300, "dispatch");
    const { raw, connection } = await sleeper(userId);
    await waitFor(() => connection.waitingBytes > 0, { what: "a full socket" });
    const reads = vi.spyOn(node.scripts, "runForList");
    bench.store.server.signal("SIGSTOP");
    // There is room now, and the next page is asked for.
    raw.socket.resume();
    await waitFor(() => reads.mock.settledResults.some(({ type }) => type === "rejected"), {
      what: "a page without an answer",
    });
    bench.store.server.signal("SIGCONT");
    await waitFor(() => messagesOf(raw).length === 300, { what: "all messages" });
    expect(messagesOf(raw).map(({ seq }) => seq)).toEqual(range(1, 300));
    await waitFor(() => connection.phase === "live", { what: "a live connection" });
    raw.socket.destroy();
  });

  test("a client that leaves midway ends its catch-up", async () => {
    const userId = newUser();
    await acceptLarge(userId, 1, 400, "dispatch");
    const { raw, connection } = await sleeper(userId);
    await waitFor(() => connection.waitingBytes > 0, { what: "a full socket" });
    raw.socket.destroy();
    await waitFor(() => !connection.isReading, { what: "the end of reading" });
    expect([...node.registry.ofUser(userId)]).toEqual([]);
  });
});
