// Tests which of a user's notifications with one collapse key may be sent.
// Guarantees: one at a time, and none after a newer one has begun, whoever asks.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { type CollapseTurn, endCollapseTurn, takeCollapseTurn } from "./take-collapse-turn.js";

let store: OpenStore;
let keepUntilMs: number;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  keepUntilMs = (await store.nowMs()) + 60_000;
});
afterAll(() => store.close());

const message = (seq: number, parts: object = {}) => ({
  userId: "u1",
  collapseKey: "score",
  epoch: "e.1",
  seq,
  ...parts,
});
const begin = (seq: number, holder: string, parts: object = {}, leaseMs = 30_000): Promise<CollapseTurn> =>
  takeCollapseTurn(store.scripts, store.keys, message(seq, parts), { holder, leaseMs, keepUntilMs });
const end = (seq: number, holder: string) =>
  endCollapseTurn(store.scripts, store.keys, message(seq), { holder, leaseMs: 1, keepUntilMs });

test("grants turns one after another, in order", async () => {
  expect(await begin(1, "a")).toEqual({ turn: "go" });
  await end(1, "a");
  expect(await begin(2, "b")).toEqual({ turn: "go" });
  await end(2, "b");
});

test("never lets an older one go after a newer one has begun, whether that has ended or not", async () => {
  await begin(2, "b");
  expect(await begin(1, "a")).toEqual({ turn: "superseded" });
  await end(2, "b");
  expect(await begin(1, "a")).toEqual({ turn: "superseded" });
});

test("a newer one waits for the older one to end, and keeps it from beginning again", async () => {
  await begin(1, "a");
  expect(await begin(2, "b")).toEqual({ turn: "busy", forMs: expect.any(Number) as number });
  await end(1, "a");
  expect(await begin(1, "a again")).toEqual({ turn: "superseded" });
  expect(await begin(2, "b")).toEqual({ turn: "go" });
});

test("of the same message sent twice at once, one waits; afterwards it may go again", async () => {
  await begin(1, "a");
  expect(await begin(1, "b")).toMatchObject({ turn: "busy" });
  await end(1, "a");
  expect(await begin(1, "b")).toEqual({ turn: "go" });
});

test("a dead one delays the others only for its lease", async () => {
  await begin(1, "a", {}, 1);
  await store.redis.call("DEBUG", "SLEEP", "0.01");
  expect(await begin(2, "b")).toEqual({ turn: "go" });
  // It was only slow: its end does not end the other's turn.
  await end(1, "a");
  expect(await begin(3, "c")).toMatchObject({ turn: "busy" });
});

test("other keys and other users do not interact", async () => {
  await begin(5, "a");
  expect(await begin(1, "b", { collapseKey: "weather" })).toEqual({ turn: "go" });
  expect(await begin(1, "c", { userId: "u2" })).toEqual({ turn: "go" });
});

test("does not compare numbers of another history", async () => {
  await begin(5, "a", { epoch: "e.1" });
  await end(5, "a");
  expect(await begin(4, "b", { epoch: "e.2" })).toEqual({ turn: "superseded" });
  expect(await begin(1, "b", { epoch: "f.1" })).toEqual({ turn: "go" });
});

test("is removed when the latest of the messages has expired", async () => {
  await begin(1, "a");
  const [key = ""] = await store.redis.keys("*");
  expect(await store.redis.pexpiretime(key)).toBe(keepUntilMs);
  const latest = keepUntilMs;
  keepUntilMs -= 30_000;
  await end(1, "a");
  await begin(2, "b");
  expect(await store.redis.pexpiretime(key)).toBe(latest);
});
