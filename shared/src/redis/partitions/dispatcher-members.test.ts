// Tests who counts as a live dispatcher, on a real Redis, by its clock.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { leaveMembership, renewMembership } from "./dispatcher-members.js";

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(() => store.clear());
afterAll(() => store.close());

test("lists all live members, in lexical order, until they leave", async () => {
  expect(await renewMembership(store.scripts, "b", 60_000)).toEqual(["b"]);
  expect(await renewMembership(store.scripts, "c", 50_000)).toEqual(["b", "c"]);
  expect(await renewMembership(store.scripts, "a", 70_000)).toEqual(["a", "b", "c"]);
  await leaveMembership(store.redis, "b");
  expect(await renewMembership(store.scripts, "a", 60_000)).toEqual(["a", "c"]);
});

test("one that does not renew is gone when its lease is over", async () => {
  await renewMembership(store.scripts, "b", 40);
  await waitFor(async () => (await renewMembership(store.scripts, "a", 60_000)).length === 1, {
    what: "the end of b's membership",
    deadlineMs: 2_000,
  });
});

test("one joins and stays even when Redis is out of memory", async () => {
  await renewMembership(store.scripts, "a", 60_000);
  await store.redis.config("SET", "maxmemory", "1");
  try {
    expect(await renewMembership(store.scripts, "b", 60_000)).toEqual(["a", "b"]);
    expect(await renewMembership(store.scripts, "a", 60_000)).toEqual(["a", "b"]);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});

test("a lease given by a clock since set back expires all the same", async () => {
  const aheadMs = (await store.nowMs()) + 3_600_000;
  await store.redis.zadd("petrel:dispatchers", aheadMs, "dead");
  await renewMembership(store.scripts, "a", 60_000);
  expect(Number(await store.redis.zscore("petrel:dispatchers", "dead"))).toBeLessThan(aheadMs - 3_000_000);
});
