// What arrives on a node's channel reaches the sockets strictly in order, whatever arrives, and however late.
import { encodeDeliver, type Envelope } from "@petrel/shared/protocol/messages/node-messages";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function publish(...envelopes: Envelope[]): Promise<void> {
  const [first] = envelopes;
  if (first === undefined) return;
  const heard = await bench.store.redis.spublish(
    bench.keysOf(first.userId).channel + node.nodeId,
    encodeDeliver(envelopes),
  );
  expect(heard).toBe(1);
}

async function envelope(userId: string, parts: Partial<Envelope>): Promise<Envelope> {
  const { epoch = "" } = await bench.user(userId);
  return {
    userId,
    epoch,
    seq: 1,
    atMs: Date.now(),
    id: "m",
    priority: "normal",
    data: `"by hand"`,
    ...parts,
  };
}

/** Everything published before has been handled. */
async function settled(client: WsClient): Promise<void> {
  const pongs = (): number => client.frames.filter(({ type }) => type === "pong").length;
  const before = pongs();
  await bench.store.redis.ping();
  await new Promise((resolve) => setTimeout(resolve, 30));
  client.send({ type: "ping" });
  await waitFor(() => pongs() > before || client.closed(), { what: "a pong" });
}

async function joinWith(count: number): Promise<{ userId: string; client: WsClient }> {
  const userId = newUser();
  await bench.acceptMany(userId, count, "dispatch");
  const client = await join(node, userId);
  await client.untilMessages(count);
  await waitFor(() => [...node.registry.ofUser(userId)][0]?.phase === "live", { what: "a live connection" });
  return { userId, client };
}

describe("live", () => {
  test("delivers messages in order, to every connection of the user, with the contract's fields", async () => {
    const userId = newUser();
    const clients = [await join(node, userId), await join(node, userId)];
    const data = { text: 'schön 🐦 "quoted"', n: 1.5, none: null };
    await bench.accept(userId, data);
    await bench.acceptMany(userId, 50);
    for (const client of clients) {
      await client.untilMessages(51);
      expect(seqsOf(client)).toEqual(range(1, 51));
      expect(client.messages[0]).toEqual({
        type: "message",
        id: expect.stringMatching(/^m_/) as string,
        seq: 1,
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
        data,
      });
      client.close();
    }
  });

  test("drops what was already sent", async () => {
    const { userId, client } = await joinWith(3);
    for (const seq of [1, 3, 2, 3]) await publish(await envelope(userId, { seq }));
    await bench.accept(userId, "four");
    await client.untilMessages(4);
    expect(seqsOf(client)).toEqual([1, 2, 3, 4]);
    client.close();
  });

  test("repairs a gap from the inbox before the client could notice", async () => {
    const { userId, client } = await joinWith(1);
    await bench.accept(userId, "lying in the inbox", "dispatch");
    await bench.accept(userId, "so is this", "dispatch");
    await bench.accept(userId, "on the wire");
    await client.untilMessages(4);
    expect(seqsOf(client)).toEqual([1, 2, 3, 4]);
    expect(client.messages[1]).toMatchObject({ data: "lying in the inbox" });
    // And it is live again.
    await bench.accept(userId, "five");
    await client.untilMessages(5);
    client.close();
  });

  test("reorders messages that arrive in the wrong order", async () => {
    const { userId, client } = await joinWith(1);
    for (let n = 2; n <= 6; n++) await bench.accept(userId, n, "dispatch");
    const all = await Promise.all([6, 4, 2, 5, 3].map((seq) => envelope(userId, { seq, data: String(seq) })));
    await publish(...all);
    await client.untilMessages(6);
    expect(seqsOf(client)).toEqual(range(1, 6));
    client.close();
  });

  test("skips a number that was assigned but is no longer in the inbox: it has ended", async () => {
    const { userId, client } = await joinWith(2);
    await bench.accept(userId, "trimmed", "dispatch");
    await bench.store.redis.xdel(bench.keysOf(userId).inbox(userId), "3-0");
    await bench.accept(userId, "four");
    await client.untilMessages(3);
    expect(seqsOf(client)).toEqual([1, 2, 4]);
    // Even if nothing follows it.
    for (const seq of [5, 6]) {
      await bench.accept(userId, "trimmed", "dispatch");
      await bench.store.redis.xdel(bench.keysOf(userId).inbox(userId), `${seq}-0`);
    }
    const [connection] = node.registry.ofUser(userId);
    await publish(await envelope(userId, { seq: 6 }));
    await waitFor(() => connection?.lastSent === 6 && connection.phase === "live", {
      what: "a live connection",
    });
    await bench.accept(userId, "seven");
    await client.untilMessages(4);
    expect(seqsOf(client)).toEqual([1, 2, 4, 7]);
    client.close();
  });

  test("delivers nothing to another user's connections", async () => {
    const { userId, client } = await joinWith(1);
    const stranger = await join(node, newUser());
    await bench.accept(userId, "private");
    await client.untilMessages(2);
    await settled(stranger);
    expect(stranger.messages).toEqual([]);
    client.close();
    stranger.close();
  });
});

describe("epochs", () => {
  test("an envelope of another lineage: reconnect, 1012; the envelope is not shown", async () => {
    const { userId, client } = await joinWith(2);
    await bench.store.redis.hset(bench.keysOf(userId).user(userId), "epoch", "other.0");
    await publish(await envelope(userId, { epoch: "other.0", seq: 1 }));
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    expect(client.frames.at(-1)).toEqual({ type: "reconnect", afterMs: 0, reason: "PETREL_EPOCH_CHANGED" });
    expect(seqsOf(client)).toEqual([1, 2]);
  });

  test("the same lineage, another generation, a new number: reconnect", async () => {
    const { userId, client } = await joinWith(2);
    await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
    await bench.accept(userId, "after a failover");
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    const again = await join(node, userId);
    await again.untilMessages(3);
    expect(seqsOf(again)).toEqual([1, 2, 3]);
    again.close();
  });

  test("an old one handed over late is dropped: it was read from the inbox", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 3, "dispatch");
    const late = await envelope(userId, { seq: 2, atMs: Date.now() - 10_000 });
    await bench.store.redis.hset(bench.keysOf(userId).generation, "replid", "another");
    const client = await join(node, userId);
    await client.untilMessages(3);
    expect((await client.frame("welcome"))["epoch"]).not.toBe(late.epoch);
    await publish(late);
    await settled(client);
    expect(client.closed()).toBeUndefined();
    await bench.accept(userId, "four");
    await client.untilMessages(4);
    expect(seqsOf(client)).toEqual([1, 2, 3, 4]);
    client.close();
  });

  test("of another epoch than the user's and the connection's, whatever its number and its clock: dropped", async () => {
    const { userId, client } = await joinWith(2);
    const connection = await waitFor(() => [...node.registry.ofUser(userId)][0], { what: "the connection" });
    const asked = vi.spyOn(node.redis, "hget");
    const late = await envelope(userId, { epoch: "past.0", seq: 7, atMs: Date.now() + 30_000 });
    await publish(late, late, late);
    await waitFor(() => connection.pastEpoch === "past.0", { what: "the look at the user's epoch" });
    await publish(late);
    await settled(client);
    expect(client.closed()).toBeUndefined();
    // Once, however many arrive.
    expect(asked).toHaveBeenCalledTimes(1);
    await bench.accept(userId, "three");
    await client.untilMessages(3);
    expect(seqsOf(client)).toEqual([1, 2, 3]);
    client.close();
  });

  test("while Redis does not say whose epoch it is: reconnect, which costs no message", async () => {
    const { userId, client } = await joinWith(1);
    vi.spyOn(node.redis, "hget").mockRejectedValueOnce(new Error("gone"));
    await publish(await envelope(userId, { epoch: "unknown.0", seq: 2 }));
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
  });

  test("if the next master's clock is behind, a new client reads its inbox and is not sent away again", async () => {
    const userId = newUser();
    await bench.acceptMany(userId, 3, "dispatch");
    const keys = bench.keysOf(userId);
    // Accepted by the former master's clock, half a minute ahead.
    const entries = await bench.store.redis.xrange(keys.inbox(userId), "-", "+");
    await bench.store.redis.del(keys.inbox(userId));
    for (const [id, [name = "", value = ""]] of entries) {
      const parts = value.split("\t");
      parts[1] = String(Number(parts[1]) + 30_000);
      await bench.store.redis.xadd(keys.inbox(userId), id, name, parts.join("\t"));
    }
    await bench.store.redis.hset(keys.generation, "replid", "another");
    const client = await join(node, userId);
    await client.untilMessages(3);
    await bench.accept(userId, "four");
    await client.untilMessages(4);
    expect(seqsOf(client)).toEqual([1, 2, 3, 4]);
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("a number that Redis has lost and assigned again is never taken for the one already seen", async () => {
    const { userId, client } = await joinWith(5);
    const keys = bench.keysOf(userId);
    // The tail is lost: 4 and 5 were shown, but Redis does not know of them any more.
    await bench.store.redis.xdel(keys.inbox(userId), "4-0", "5-0");
    await bench.store.redis.xsetid(keys.inbox(userId), "3-0");
    await bench.store.redis.hset(keys.user(userId), "seq", "3");
    await bench.store.redis.hset(keys.generation, "replid", "another");
    expect(await bench.accept(userId, "the second 4")).toMatchObject({ seq: 4 });
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
    const again = await join(node, userId);
    await again.untilMessages(4);
    expect(again.messages[3]).toMatchObject({ seq: 4, data: "the second 4" });
    again.close();
  });

  test("the same, found through a nudge alone", async () => {
    const { userId, client } = await joinWith(5);
    const keys = bench.keysOf(userId);
    await bench.store.redis.xdel(keys.inbox(userId), "4-0", "5-0");
    await bench.store.redis.xsetid(keys.inbox(userId), "3-0");
    await bench.store.redis.hset(keys.user(userId), "seq", "3");
    await bench.store.redis.hset(keys.generation, "replid", "another");
    await bench.accept(userId, "the second 4", "dispatch");
    await bench.store.redis.spublish(keys.channel + node.nodeId, `nudge\n${userId}`);
    expect(await client.untilClosed()).toMatchObject({ code: 1012 });
  });
});

test("skips what it cannot read: a kind of a newer release, an unknown user", async () => {
  const { userId, client } = await joinWith(1);
  const channel = bench.keysOf(userId).channel + node.nodeId;
  await bench.store.redis.spublish(channel, "from-the-future\nx\ty");
  await bench.store.redis.spublish(channel, "");
  await publish(await envelope("nobody-here", { epoch: "e", seq: 1 }));
  await bench.accept(userId, "two");
  await client.untilMessages(2);
  expect(client.closed()).toBeUndefined();
  client.close();
});
