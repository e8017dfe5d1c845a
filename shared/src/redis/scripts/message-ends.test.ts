// Tests the count of messages that ended, from the scripts' answers, on a real Redis.
// Guarantees: an end counts once, however often it is reported; a call that changed nothing counts nothing.
import { afterAll, beforeAll, expect, test } from "vitest";
import { Registry } from "../../kernel/metrics/metrics.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { ackUsers } from "../inbox/ack-users.js";
import { expireMessages } from "../inbox/expire-messages.js";

const registry = new Registry();
let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
  store.scripts.ends.register(registry);
});
afterAll(() => store.close());

async function counted(state: string): Promise<number> {
  const line = (await registry.metrics()).split("\n").find((one) => one.includes(`state="${state}"`));
  return Number(line?.split(" ")[1]);
}

async function accept(userId: string, parts: object = {}): Promise<{ epoch: string; id: string }> {
  const given = message({ userId, ...parts });
  const result = await store.accepter().accept(given);
  if (result.outcome !== "stored") throw new Error("not stored");
  return { epoch: result.epoch, id: given.id };
}

test("exposes all series from the start", async () => {
  for (const state of ["delivered", "pushed", "expired", "failed"]) expect(await counted(state)).toBe(0);
});

test("delivered: counted by how far `acked` moved, whoever repeats it", async () => {
  await accept("u1");
  await accept("u1");
  const { epoch } = await accept("u1");
  const ack = (seq: number, of = epoch) =>
    ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch: of, seq }], 100);
  expect(await ack(2)).toEqual([2]);
  expect(await counted("delivered")).toBe(2);
  await ack(1);
  await ack(2);
  await ack(3, "another.0");
  expect(await counted("delivered")).toBe(2);
  await ack(1_000);
  expect(await counted("delivered")).toBe(3);
});

test("expired: counted by the ends that were written", async () => {
  const { id, epoch } = await accept("u2", { ttlMs: 1 });
  const expire = () => expireMessages(store.scripts, store.keys, "u2", [{ seq: 1, epoch, id }]);
  await waitFor(async () => (await expire()) > 0, { what: "its time to be over" });
  await expire();
  expect(await counted("expired")).toBe(1);
});
