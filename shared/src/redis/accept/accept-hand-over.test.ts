// Tests the hand-over within the accept step, with real subscribers.
// Guarantees: `ready` holds an entry exactly while its message has reached no node; nodes hear messages in order.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { decodeNodeMessage, type Envelope } from "../../protocol/messages/node-messages.js";
import { decodeReadyMessage } from "../../protocol/messages/stored-message.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import type { MessageToAccept } from "./accept-batch.js";
import { connectRoute } from "../routes/connect-routes.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function connectTo(node: string, userId = "u1"): Promise<void> {
  const route = { userId, node, connection: `c-${userId}-${node}`, platform: "web" };
  await connectRoute(store.scripts, store.keys, route, routeLimits);
}

async function accept(handOver: "accept" | "dispatch", ...messages: MessageToAccept[]) {
  const accepter = store.accepter({ handOver });
  return Promise.all(messages.map((one) => accepter.accept(one)));
}

async function readySeqs(): Promise<number[]> {
  const entries = await store.redis.xrange(store.keys.ready, "-", "+");
  return entries.map(([, [, value = ""]]) => decodeReadyMessage(value).seq);
}

function envelopes(heard: readonly string[]): readonly Envelope[] {
  return heard.flatMap((text) => {
    const decoded = decodeNodeMessage(text);
    return decoded?.kind === "deliver" ? decoded.envelopes : [];
  });
}

test("a node gets each user's messages side by side, in the order of seq, one publish per call", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  await connectTo("n1", "u2");
  const [first, other, second] = [message({ data: `"\\t"` }), message({ userId: "u2" }), message()];
  const [firstResult, otherResult, secondResult] = await accept("accept", first, other, second);
  await waitFor(() => heard.length > 0, { what: "the hand-over" });
  expect(heard).toHaveLength(1);
  expect(heard[0]).toMatch(/^deliver\n/);
  expect(envelopes(heard)).toEqual(
    [[first, firstResult] as const, [second, secondResult] as const, [other, otherResult] as const].map(
      ([{ userId, id, priority, data }, result]) => {
        if (result?.outcome !== "stored") throw new Error("not stored");
        return { userId, epoch: result.epoch, seq: result.seq, atMs: result.atMs, id, priority, data };
      },
    ),
  );
  expect(await readySeqs()).toEqual([]);
});

test("handed over or not, the message is in the inbox and the user in due until it is acked", async () => {
  await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  await accept("accept", message());
  expect(await store.redis.xlen(store.keys.inbox("u1"))).toBe(1);
  expect(await store.redis.zscore(store.keys.due, "u1")).not.toBeNull();
});

test("without a route it waits in ready", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1", "somebody-else");
  await accept("accept", message(), message());
  expect(await readySeqs()).toEqual([1, 2]);
  expect(heard).toEqual([]);
});

test("with a route, but no subscriber on the node's channel, it waits in ready", async () => {
  await connectTo("n1");
  await accept("accept", message(), message());
  expect(await readySeqs()).toEqual([1, 2]);
});

test("a route with an expired lease does not count", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  await store.endLeases("u1");
  await accept("accept", message());
  expect(await readySeqs()).toEqual([1]);
  expect(heard).toEqual([]);
});

test("connections on two nodes: both nodes get it, once", async () => {
  const first = await store.listen(`${store.keys.channel}n1`);
  const second = await store.listen(`${store.keys.channel}n2`);
  await connectTo("n1");
  await connectTo("n2");
  const extra = { userId: "u1", node: "n1", connection: "c-more", platform: "web" };
  await connectRoute(store.scripts, store.keys, extra, routeLimits);
  await accept("accept", message());
  await waitFor(() => first.length > 0 && second.length > 0, { what: "both hand-overs" });
  expect([envelopes(first), envelopes(second)]).toMatchObject([[{ seq: 1 }], [{ seq: 1 }]]);
  expect(await readySeqs()).toEqual([]);
});

test("if one of two nodes has no subscriber: handed over to the other, and not left in ready", async () => {
  const heard = await store.listen(`${store.keys.channel}n2`);
  await connectTo("n1");
  await connectTo("n2");
  await accept("accept", message());
  await waitFor(() => heard.length > 0, { what: "the hand-over" });
  expect(await readySeqs()).toEqual([]);
});

test("in one call, only messages that reached nobody wait, in order", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  await accept("accept", message({ userId: "away" }), message(), message({ userId: "away" }));
  await waitFor(() => heard.length > 0, { what: "the hand-over" });
  const entries = await store.redis.xrange(store.keys.ready, "-", "+");
  expect(entries.map(([, [, value = ""]]) => decodeReadyMessage(value))).toMatchObject([
    { userId: "away", seq: 1 },
    { userId: "away", seq: 2 },
  ]);
});

test("does not hand a duplicate over again", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  const given = message();
  await accept("accept", given, given);
  await accept("accept", given);
  await accept("accept", message({ id: "last" }));
  await waitFor(() => envelopes(heard).some(({ id }) => id === "last"), { what: "the last message" });
  expect(envelopes(heard).map(({ id }) => id)).toEqual([given.id, "last"]);
});

test("handOver dispatch: always to ready, whoever is subscribed", async () => {
  const heard = await store.listen(`${store.keys.channel}n1`);
  await connectTo("n1");
  await accept("dispatch", message(), message());
  expect(await readySeqs()).toEqual([1, 2]);
  await accept("accept", message());
  await waitFor(() => heard.length > 0, { what: "the third, handed over here" });
  expect(envelopes(heard)).toMatchObject([{ seq: 3 }]);
});
