// Tests the hand-over of one batch.
// Guarantees: on a real Redis with real subscribers, which hear what a node would.
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { systemClock } from "@petrel/shared/kernel/clock";
import { decodeNodeMessage, type Envelope } from "@petrel/shared/protocol/messages/node-messages";
import type { ReadyMessage } from "@petrel/shared/protocol/messages/stored-message";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { readReady } from "@petrel/shared/redis/accept/ready-stream";
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { routeMessages } from "./route-messages.js";

let store: OpenStore;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

function hold(leaseMs = 60_000): HeldPartition {
  const endsAtMs = systemClock.monotonicMs() + leaseMs;
  return new HeldPartition(keys, "1.x", { endsAtMs, serverUntilMs: 0 }, systemClock);
}

async function connect(userId: string, node: string): Promise<void> {
  await connectRoute(
    store.scripts,
    keys,
    { userId, node, connection: `c-${node}`, platform: "web" },
    { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: 10_000 },
  );
}

async function accept(...messages: readonly Partial<MessageToAccept>[]): Promise<void> {
  await Promise.all(messages.map((parts) => store.accepter({ handOver: "dispatch" }).accept(message(parts))));
}

async function ready(): Promise<ReadyMessage[]> {
  const found = await readReady(store.redis, [keys], { maxEntries: 200, blockMs: 1 });
  return (found.get(keys.ready) ?? []).map((entry) => entry.message);
}

/** What a node hears on its channel, once it has heard so many messages. */
async function envelopes(texts: readonly string[], count: number): Promise<Envelope[]> {
  const decode = (): Envelope[] =>
    texts.flatMap((text) => {
      const decoded = decodeNodeMessage(text);
      return decoded?.kind === "deliver" ? decoded.envelopes : [];
    });
  await waitFor(() => decode().length >= count, { what: `${count} envelopes` });
  return decode();
}

test("publishes once per node that holds the user, each user's messages in order", async () => {
  await connect("u1", "n1");
  await connect("u2", "n1");
  await connect("u2", "n2");
  const accepter = store.accepter({ handOver: "dispatch" });
  const users = ["u1", "u2", "u1", "u2", "u1"];
  await Promise.all(users.map((userId, i) => accepter.accept(message({ userId, data: String(i) }))));
  const [n1, n2] = [await store.listen(`${keys.channel}n1`), await store.listen(`${keys.channel}n2`)];

  const routed = await routeMessages(store.scripts, hold(), await ready(), NO_TRACING);

  expect(routed?.handedOver).toHaveLength(5);
  const atN1 = await envelopes(n1, 5);
  const heardOf = (user: string): unknown[] =>
    atN1.filter(({ userId }) => userId === user).map(({ seq, data }) => [seq, data]);
  expect(heardOf("u1")).toEqual([
    [1, "0"],
    [2, "2"],
    [3, "4"],
  ]);
  expect(heardOf("u2")).toEqual([
    [1, "1"],
    [2, "3"],
  ]);
  expect(n1).toHaveLength(1);
  expect((await envelopes(n2, 2)).map(({ seq }) => seq)).toEqual([1, 2]);
  const [first] = await ready();
  expect(atN1[0]).toEqual({
    userId: "u1",
    epoch: first?.epoch,
    seq: 1,
    atMs: first?.atMs,
    priority: "normal",
    id: first?.id,
    data: "0",
  });
});

test("publishes more than 256 KiB for one node in several calls, in order", async () => {
  await connect("u1", "n1");
  const data = JSON.stringify("é".repeat(30_000));
  const accepter = store.accepter({ handOver: "dispatch" });
  await Promise.all(Array.from({ length: 10 }, () => accepter.accept(message({ data }))));
  const heard = await store.listen(`${keys.channel}n1`);
  await routeMessages(store.scripts, hold(), await ready(), NO_TRACING);
  expect((await envelopes(heard, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(heard.map((text) => Buffer.byteLength(text) <= 256 * 1024)).toEqual([true, true, true]);
});

test("handing a batch over twice changes nothing in Redis, and the node recognises the repeat", async () => {
  await connect("u1", "n1");
  await accept({}, {});
  const heard = await store.listen(`${keys.channel}n1`);
  const entries = await ready();
  const before = await store.snapshot();
  await routeMessages(store.scripts, hold(), entries, NO_TRACING);
  await routeMessages(store.scripts, hold(), entries, NO_TRACING);
  expect(await store.snapshot()).toEqual(before);
  const [one, two, ...again] = await envelopes(heard, 4);
  expect(again).toEqual([one, two]);
});

test("distinguishes offline from unheard", async () => {
  await connect("u2", "deaf");
  await connect("u3", "deaf");
  await connect("u3", "n1");
  await store.listen(`${keys.channel}n1`);
  const accepter = store.accepter({ handOver: "dispatch" });
  await Promise.all(["u1", "u2", "u3"].map((userId) => accepter.accept(message({ userId }))));
  const routed = await routeMessages(store.scripts, hold(), await ready(), NO_TRACING);
  expect(routed?.offline.map(({ userId }) => userId)).toEqual(["u1"]);
  expect(routed?.unheard.map(({ userId }) => userId)).toEqual(["u2"]);
  expect(routed?.handedOver.map(({ userId }) => userId)).toEqual(["u3"]);
});

test("does not hand over an expired message, and writes its end", async () => {
  await connect("u1", "n1");
  const accepter = store.accepter({ handOver: "dispatch" });
  await Promise.all([
    accepter.accept(message({ id: "short", ttlMs: 1 })),
    accepter.accept(message({ id: "long" })),
  ]);
  const heard = await store.listen(`${keys.channel}n1`);
  const entries = await ready();
  await waitFor(async () => (await store.nowMs()) > (entries[0]?.expiresAtMs ?? 0), { what: "the expiry" });
  const routed = await routeMessages(store.scripts, hold(), entries, NO_TRACING);
  expect(routed?.expired.map(({ id }) => id)).toEqual(["short"]);
  expect((await envelopes(heard, 1)).map(({ id }) => id)).toEqual(["long"]);
  // Asked of the record itself: a reader of the state would write the end too.
  expect(await store.redis.get(keys.record("short"))).toMatch(/\texpired \d+$/);
  expect((await readMessage(store.scripts, keys, "short"))?.state).toBe("expired");
});

test("publishes nothing once the lease is over", async () => {
  await connect("u1", "n1");
  await accept({});
  const heard = await store.listen(`${keys.channel}n1`);
  expect(await routeMessages(store.scripts, hold(0), await ready(), NO_TRACING)).toBeUndefined();
  await store.redis.spublish(`${keys.channel}n1`, "end");
  await waitFor(() => heard.length > 0, { what: "the end" });
  expect(heard).toEqual(["end"]);
});

test("does not hand over a recalled message; hands over the user's others", async () => {
  await connect("u1", "n1");
  await accept({ id: "m1" }, { id: "m2" }, { id: "m3" });
  const messages = await ready();
  expect(messages).toHaveLength(3);
  const cancelled = await cancelMessage(store.scripts, store.scripts, keys, "m2");
  expect(cancelled).toEqual({ outcome: "cancelled" });
  const n1 = await store.listen(`${keys.channel}n1`);
  const routed = await routeMessages(store.scripts, hold(), messages, NO_TRACING);
  expect(routed?.handedOver.map(({ id }) => id)).toEqual(["m1", "m3"]);
  expect(routed?.expired).toEqual([]);
  expect((await envelopes(n1, 2)).map(({ id }) => id)).toEqual(["m1", "m3"]);
});

test("another message's end under the same id changes nothing", async () => {
  await connect("u1", "n1");
  await accept({ id: "m1" });
  const messages = await ready();
  await store.listen(`${keys.channel}n1`);
  await store.redis.set(keys.record("m1"), "1\tother.1\t1\t2\tu1\t-\tfirst\tcancelled 5");
  expect((await routeMessages(store.scripts, hold(), messages, NO_TRACING))?.handedOver).toHaveLength(1);
});
