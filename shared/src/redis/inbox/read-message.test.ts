// Tests how a message's state is read by its id.
// Guarantees: the states of the design, in its order: a final end first, then the cursor, then the rest.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "./ack-users.js";
import { readMessage } from "./read-message.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function accept(...ids: string[]): Promise<string> {
  const accepter = store.accepter();
  const results = await Promise.all(ids.map((id) => accepter.accept(message({ id }))));
  const last = results.at(-1);
  if (last?.outcome !== "stored") throw new Error("not stored");
  return last.epoch;
}

const read = (id: string) => readMessage(store.scripts, store.keys, id);
const ack = (epoch: string, seq: number) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 1_000);
const write = (id: string, end: string) => store.redis.append(store.keys.record(id), `\t${end}`);

test("an unknown id", async () => {
  expect(await read("nothing")).toBeUndefined();
});

test("stored and not acked: queued, with its number", async () => {
  const epoch = await accept("m1", "m2");
  expect(await read("m2")).toMatchObject({
    state: "queued",
    stateAtMs: undefined,
    record: { seq: 2, epoch, userId: "u1" },
  });
});

test("acked: delivered, at exactly that time for the acked one, at the latest then for earlier ones", async () => {
  const epoch = await accept("m1", "m2", "m3");
  const before = await store.nowMs();
  await ack(epoch, 2);
  const [first, second, third] = await Promise.all([read("m1"), read("m2"), read("m3")]);
  expect(first).toMatchObject({ state: "delivered", stateAtIsUpperBound: true });
  expect(second).toMatchObject({ state: "delivered", stateAtIsUpperBound: false });
  expect(second?.state === "delivered" && second.stateAtMs).toBeGreaterThanOrEqual(before);
  expect(third?.state).toBe("queued");
});

test.each(["expired", "cancelled"])("%s is final, acked or not", async (end) => {
  const epoch = await accept("m1");
  await write("m1", `${end} 5`);
  expect(await read("m1")).toMatchObject({ state: end, stateAtMs: 5 });
  await ack(epoch, 1);
  expect(await read("m1")).toMatchObject({ state: end, stateAtMs: 5 });
});

test.each(["pushed", "failed"])("%s may still become delivered", async (end) => {
  const epoch = await accept("m1");
  await write("m1", `${end} 5`);
  expect(await read("m1")).toMatchObject({ state: end, stateAtMs: 5 });
  await ack(epoch, 1);
  expect(await read("m1")).toMatchObject({ state: "delivered" });
});

test("an expired message reads expired only once its end is written", async () => {
  await store.accepter().accept(message({ id: "m1", ttlMs: 0 }));
  expect(await read("m1")).toMatchObject({ state: "expired" });
  expect(await store.redis.get(store.keys.record("m1"))).toMatch(/\texpired \d+$/);
});

test("a message acked in time stays delivered after its expiry", async () => {
  const result = await store.accepter().accept(message({ id: "m1", ttlMs: 0 }));
  await ack(result.outcome === "stored" ? result.epoch : "", 1);
  expect(await read("m1")).toMatchObject({ state: "delivered" });
});

test("an acknowledgement in a foreign lineage says nothing of this message", async () => {
  const epoch = await accept("m1");
  await store.redis.hset(store.keys.user("u1"), "epoch", "foreign.0", "acked", "1");
  expect(await read("m1")).toMatchObject({ state: "queued", record: { epoch } });
});
