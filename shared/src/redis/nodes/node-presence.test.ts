// Tests a node's key, on a real Redis.
// Guarantees: the key is there while it is renewed, and not after.
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { announceNode, findGoneNodes, withdrawNode } from "./node-presence.js";

let store: OpenStore;
beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store.close());

test("a node exists from its announcement to its withdrawal, and no other node with it", async () => {
  expect(await announceNode(store.scripts, "n.1", 60_000)).toBe(false);
  expect(await announceNode(store.scripts, "n.1", 60_000)).toBe(true);
  expect(await findGoneNodes(store.redis, ["n.1", "n.2"])).toEqual(["n.2"]);
  await withdrawNode(store.redis, "n.1");
  expect(await findGoneNodes(store.redis, ["n.1"])).toEqual(["n.1"]);
});

test("a node that is not announced again expires", async () => {
  await announceNode(store.scripts, "n.3", 60_000);
  await announceNode(store.scripts, "n.3", 30);
  await waitFor(async () => (await findGoneNodes(store.redis, ["n.3"])).length > 0, {
    what: "the key's end",
    deadlineMs: 2_000,
  });
});

test("a node comes, stays and returns even when Redis is out of memory", async () => {
  await announceNode(store.scripts, "n.4", 60_000);
  await store.redis.config("SET", "maxmemory", "1");
  try {
    expect(await announceNode(store.scripts, "n.4", 90_000)).toBe(true);
    expect(await store.redis.pttl("petrel:node:n.4")).toBeGreaterThan(60_000);
    expect(await announceNode(store.scripts, "n.5", 60_000)).toBe(false);
    expect(await findGoneNodes(store.redis, ["n.5"])).toEqual([]);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});
