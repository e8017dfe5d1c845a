// Tests the look-up of users' nodes, and of a user's connections.
// Guarantees: live leases only; each node once.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRoute } from "./connect-routes.js";
import { readConnections, readRoutes, removeRoute } from "./route-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function connect(userId: string, node: string, connection: string): Promise<string> {
  const route = { userId, node, connection, platform: "ios" };
  const result = await connectRoute(store.scripts, store.keys, route, routeLimits);
  if (result.outcome !== "connected") throw new Error("refused");
  return result.member;
}

const nodesOf = (...userIds: string[]) => readRoutes(store.scripts, store.keys, userIds);

test("returns for each user, in order, the nodes that hold it; each node once", async () => {
  await connect("u1", "n1", "a");
  await connect("u1", "n1", "b");
  await connect("u1", "n2", "c");
  await connect("u2", "n2", "d");
  const [first, none, second] = await nodesOf("u1", "nobody", "u2");
  expect(first?.toSorted()).toEqual(["n1", "n2"]);
  expect(none).toEqual([]);
  expect(second).toEqual(["n2"]);
});

test("returns none for a single user without a route", async () => {
  expect(await nodesOf("nobody")).toEqual([[]]);
});

test("ignores an expired lease", async () => {
  await connect("u1", "n1", "a");
  await store.endLeases("u1");
  await connect("u2", "n1", "b");
  expect(await nodesOf("u1", "u2")).toEqual([[], ["n1"]]);
});

test("ignores a removed route", async () => {
  const member = await connect("u1", "n1", "a");
  await removeRoute(store.scripts, store.keys, "u1", member, 0);
  expect(await nodesOf("u1")).toEqual([[]]);
});

test("lists a user's connections, oldest first, with their details", async () => {
  await connect("u1", "n1", "a");
  await store.endLeases("u1");
  const before = await store.nowMs();
  await connect("u1", "n2", "b");
  await waitFor(async () => (await store.nowMs()) > before + 1, { what: "the next millisecond" });
  await connect("u1", "n1", "c");
  const found = await readConnections(store.scripts, store.keys, "u1");
  expect(found).toEqual([
    { id: "b", node: "n2", platform: "ios", connectedAtMs: expect.any(Number), member: expect.any(String) },
    { id: "c", node: "n1", platform: "ios", connectedAtMs: expect.any(Number), member: expect.any(String) },
  ]);
  expect(found[0]?.connectedAtMs).toBeGreaterThanOrEqual(before);
});
