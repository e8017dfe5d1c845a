// A device that is slower than another of its user: what the quick one acknowledges is kept for it, within a bound; one
// that falls further behind is told, and never left with a gap.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Connection } from "../connection/connection.js";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import { openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
/** The quick devices' node, and one for the slow ones: they need not be connected to the same. */
let quick: PushNode;
let slow: PushNode;
let users = 0;

const COUNT = 400;
const HISTORY = 10;
const node = { outboundBoundBytes: 64 * 1024, historySize: HISTORY };

beforeAll(async () => {
  bench = await openNodeBench();
  quick = await bench.startNode(node);
  slow = await bench.startNode(node);
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;
const large = (n: number): string => `${n}:`.padEnd(30_000, "x");

async function acceptLarge(userId: string, handOver: "accept" | "dispatch"): Promise<void> {
  for (let n = 1; n <= COUNT; n += 8) {
    await Promise.all(range(n, n + 7).map((i) => bench.accept(userId, large(i), handOver)));
  }
}

/** A client that stops reading once it is welcome. */
async function sleeper(node: PushNode, userId: string): Promise<{ raw: RawClient; connection: Connection }> {
  const raw = await openRaw({ port: node.port, headers: { authorization: `Bearer user.${userId}` } });
  raw.socket.pause();
  const connection = await waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
  return { raw, connection };
}

interface Frame {
  readonly type: string;
  readonly seq: number;
  readonly reason?: string;
}
const framesOf = (raw: RawClient): Frame[] =>
  raw
    .frames()
    .filter(({ opcode }) => opcode === 1)
    .map(({ payload }) => JSON.parse(payload.toString()) as Frame);
const seqsIn = (raw: RawClient): number[] =>
  framesOf(raw).flatMap(({ type, seq }) => (type === "message" ? [seq] : []));

/** The quick device acknowledges everything, step by step, as it comes. */
async function ackAll(userId: string, client: Awaited<ReturnType<typeof join>>): Promise<void> {
  for (let seq = 50; seq <= COUNT; seq += 50) {
    await client.untilMessages(seq);
    client.ack(seq);
  }
  await waitFor(async () => (await bench.user(userId))["acked"] === String(COUNT), { what: "all acked" });
}

const inboxLength = (userId: string) => bench.store.redis.xlen(bench.keysOf(userId).inbox(userId));

describe.each(["live", "with a backlog"] as const)("%s: a device whose socket stalls", (when) => {
  test("gets everything a quicker one has acknowledged meanwhile; then it is no longer kept", async () => {
    const userId = newUser();
    if (when === "with a backlog") await acceptLarge(userId, "dispatch");
    const { raw, connection } = await sleeper(slow, userId);
    const laptop = await join(quick, userId);
    if (when === "live") {
      await waitFor(() => connection.phase === "live", { what: "a live connection" });
      await acceptLarge(userId, "accept");
    }
    await ackAll(userId, laptop);
    expect(connection.lastSent).toBeLessThan(COUNT - HISTORY);
    raw.socket.resume();
    await waitFor(() => seqsIn(raw).length === COUNT, {
      what: "all messages",
      everyMs: 200,
      deadlineMs: 20_000,
    });
    expect(seqsIn(raw)).toEqual(range(1, COUNT));
    expect(connection.isOpen).toBe(true);
    await waitFor(async () => (await inboxLength(userId)) < HISTORY + 3, { what: "the end of the holding" });
    expect(await bench.user(userId)).not.toHaveProperty("slow");
    raw.socket.destroy();
    laptop.close();
  });
});

test("a device further behind than the bound is told, without an earlier hole; on resuming it gets what is left", async () => {
  const userId = newUser();
  const bounded = await bench.startNode({ ...node, slowHistorySize: 50 });
  const { raw, connection } = await sleeper(slow, userId);
  const laptop = await join(bounded, userId);
  await waitFor(() => connection.phase === "live", { what: "a live connection" });
  await acceptLarge(userId, "accept");
  await ackAll(userId, laptop);
  raw.socket.resume();
  expect(await raw.closeCode(20_000)).toBe(1012);
  const got = seqsIn(raw);
  expect(got).toEqual(range(1, got.length));
  expect(got.length).toBeLessThan(COUNT - 50);
  expect(framesOf(raw).at(-1)).toMatchObject({ type: "reconnect", reason: "PETREL_HISTORY_TRIMMED" });

  const { epoch } = await bench.user(userId);
  const again = await join(slow, userId, { query: `epoch=${epoch}&since=${got.length}` });
  const welcome = await again.frame("welcome");
  expect(welcome).toMatchObject({ resumed: false });
  const after = Number(welcome["after"]);
  expect(after).toBeGreaterThan(got.length);
  expect(after).toBeLessThanOrEqual(COUNT - HISTORY);
  await again.untilMessages(COUNT - after);
  expect(seqsOf(again)).toEqual(range(after + 1, COUNT));
  // It is told only once.
  await bench.accept(userId, "on");
  await again.untilMessages(COUNT - after + 1);
  again.close();
  laptop.close();
});

test("ended numbers are no loss, whoever trimmed them: nobody is told", async () => {
  const userId = newUser();
  const { raw, connection } = await sleeper(slow, userId);
  await waitFor(() => connection.phase === "live", { what: "a live connection" });
  for (let n = 1; n <= 200; n++) await bench.accept(userId, n, "dispatch", { ttlMs: 1 });
  await bench.accept(userId, "still good", "dispatch");
  await new Promise((resolve) => setTimeout(resolve, 5));
  const laptop = await join(quick, userId);
  await laptop.untilMessages(1);
  laptop.ack(201);
  await waitFor(async () => (await bench.user(userId))["acked"] === "201", { what: "all acked" });
  expect(await inboxLength(userId)).toBeLessThan(150);
  await bench.accept(userId, "newest");
  raw.socket.resume();
  await waitFor(() => seqsIn(raw).length === 2, { what: "what has not ended" });
  expect(seqsIn(raw)).toEqual([201, 202]);
  expect(connection.isOpen).toBe(true);
  raw.socket.destroy();
  laptop.close();
});
