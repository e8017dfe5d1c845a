// Tests the lease of a partition, on a real Redis.
// Guarantees: one holder at a time, and a token that was never given out before.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import type { PartitionKeys } from "../keys.js";
import { readPartitionOwners, releasePartition, renewPartition, takePartition } from "./partition-lease.js";
import { trimReady } from "../accept/ready-stream.js";

let store: OpenStore;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

async function take(holder: string, leaseMs = 60_000): Promise<{ holder: string; token: string }> {
  const result = await takePartition(store.scripts, keys, holder, leaseMs);
  if (result.outcome !== "held") throw new Error(`held by ${result.holder}`);
  return { holder, token: result.token };
}

async function leaseIsOver(): Promise<void> {
  await waitFor(
    async () => {
      const [owner] = await readPartitionOwners(store.redis, [keys]);
      return (owner?.untilMs ?? 0) <= (await store.nowMs());
    },
    { what: "the lease's end", everyMs: 5 },
  );
}

const numberOf = (token: string): number => Number(token.split(".")[0]);

test("nobody else takes a partition that is held", async () => {
  await take("a");
  const before = await store.snapshot();
  expect(await takePartition(store.scripts, keys, "b", 60_000)).toMatchObject({
    outcome: "other",
    holder: "a",
  });
  expect(await store.snapshot()).toEqual(before);
});

test("a renewal extends the lease; one with another's token, or too late, changes nothing", async () => {
  const lease = await take("a", 50);
  const renewed = await renewPartition(store.scripts, keys, lease, 100);
  expect(renewed).toMatchObject({ outcome: "held", token: lease.token });
  expect(renewed.untilMs).toBeGreaterThan(await store.nowMs());
  await leaseIsOver();
  const before = await store.snapshot();
  expect(await renewPartition(store.scripts, keys, lease, 60_000)).toMatchObject({ outcome: "other" });
  expect(await store.snapshot()).toEqual(before);

  await take("b");
  const taken = await store.snapshot();
  expect(await renewPartition(store.scripts, keys, lease, 60_000)).toMatchObject({ holder: "b" });
  expect(await releasePartition(store.scripts, keys, lease)).toBe(false);
  expect(await store.snapshot()).toEqual(taken);
});

test("each new lease has a token with a larger number, even the same holder's, and only the newest is valid", async () => {
  const first = await take("a");
  const second = await take("a");
  expect(numberOf(second.token)).toBe(numberOf(first.token) + 1);
  expect(await renewPartition(store.scripts, keys, first, 60_000)).toMatchObject({ outcome: "other" });
  expect(await renewPartition(store.scripts, keys, second, 60_000)).toMatchObject({ outcome: "held" });
});

test("a release frees at once, and the number goes on", async () => {
  const first = await take("a");
  expect(await releasePartition(store.scripts, keys, first)).toBe(true);
  expect(await readPartitionOwners(store.redis, [keys])).toEqual([{ holder: "", untilMs: 0 }]);
  const second = await take("b");
  expect(numberOf(second.token)).toBe(numberOf(first.token) + 1);
});

test("if Redis has lost the tail in which a token was given out, the next one still differs", async () => {
  const earlier = await take("a");
  const lost = await take("a");
  await store.redis.hset(keys.owner, { token: earlier.token, until: "0" });
  const next = await take("b");
  expect(numberOf(next.token)).toBe(numberOf(lost.token));
  expect(next.token).not.toBe(lost.token);
  expect(await trimReady(store.scripts, keys, lost.token, "9-0")).toBe("stale");
  expect(await trimReady(store.scripts, keys, next.token, "9-0")).toBe(0);
});

test("a lease given by a clock ahead gets its length from when it is asked for; the former release's, the asker's", async () => {
  const hourMs = 3_600_000;
  const untilIn = async (): Promise<number> => {
    const [owner] = await readPartitionOwners(store.redis, [keys]);
    return (owner?.untilMs ?? 0) - (await store.nowMs());
  };
  // A longer lease than the caller's own keeps its length.
  await take("a", hourMs);
  const before = await store.snapshot();
  expect(await takePartition(store.scripts, keys, "b", 5_000)).toMatchObject({
    outcome: "other",
    holder: "a",
  });
  expect(await store.snapshot()).toEqual(before);

  await store.redis.hset(keys.owner, "until", (await store.nowMs()) + 3 * hourMs);
  expect(await takePartition(store.scripts, keys, "b", 5_000)).toMatchObject({
    outcome: "other",
    holder: "a",
  });
  expect(await untilIn()).toBeLessThanOrEqual(hourMs);
  expect(await untilIn()).toBeGreaterThan(hourMs / 2);

  await store.redis.hdel(keys.owner, "leaseMs");
  expect(await takePartition(store.scripts, keys, "b", 5_000)).toMatchObject({
    outcome: "other",
    holder: "a",
  });
  expect(await untilIn()).toBeLessThanOrEqual(5_000);
});
