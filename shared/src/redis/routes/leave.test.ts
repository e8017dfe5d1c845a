// Tests what a connection leaves behind when it closes, or when its node stops.
// Guarantees: a grace lease is no route and takes no slot; a leaving connection takes no slot.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute, type RouteLimits, type RouteToConnect } from "./connect-routes.js";
import { markLeaving, readConnections, readRoutes, removeRoute, renewRoutes } from "./route-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const limits: RouteLimits = { ...routeLimits, maxConnectionsPerUser: 2 };

async function connect(connection: string, more: Partial<RouteToConnect> = {}): Promise<string> {
  const route = { userId: "u1", node: "n1", connection, platform: "web", ...more };
  const result = await connectRoute(store.scripts, store.keys, route, limits);
  if (result.outcome !== "connected") throw new Error(`${connection} was refused`);
  return result.member;
}

const leave = (member: string, graceMs: number): Promise<void> =>
  removeRoute(store.scripts, store.keys, "u1", member, graceMs);
const members = (): Promise<string[]> => store.redis.zrange(store.keys.routes("u1"), "0", "-1");
const ids = async (): Promise<string[]> =>
  (await readConnections(store.scripts, store.keys, "u1")).map(({ id }) => id);

test("a grace lease keeps the user without a node, and expires", async () => {
  const member = await connect("c1");
  await leave(member, 3_000);
  expect(await members()).toEqual([member.replace("/n1/", "/-/")]);
  const [, score = ""] = await store.redis.zrange(store.keys.routes("u1"), "0", "-1", "WITHSCORES");
  expect(Number(score) - (await store.nowMs())).toBeGreaterThan(2_000);
  expect(Number(score) - (await store.nowMs())).toBeLessThanOrEqual(3_000);
  expect(await store.redis.pttl(store.keys.routes("u1"))).toBeGreaterThan(2_000);
});

test("it is not a route, and not a connection", async () => {
  await leave(await connect("c1"), 3_000);
  expect(await readRoutes(store.scripts, store.keys, ["u1"])).toEqual([[]]);
  expect(await ids()).toEqual([]);
});

test("a connect removes it, with others; it takes no slot", async () => {
  await connect("c1");
  await leave(await connect("c2"), 3_000);
  await connect("c3");
  expect(await ids()).toEqual(["c1", "c3"]);
  expect((await members()).length).toBe(2);
});

test("a sign-out leaves nothing; nor does one that was not registered", async () => {
  const member = await connect("c1");
  await leave(member, 0);
  await leave(member, 3_000);
  expect(await members()).toEqual([]);
  expect(await store.redis.exists(store.keys.routes("u1"))).toBe(0);
});

test("after the last one the set expires with the grace; while another exists it stays as long as that", async () => {
  const [member, other] = [await connect("c1"), await connect("c2")];
  await leave(member, 3_000);
  expect(await store.redis.pttl(store.keys.routes("u1"))).toBeGreaterThan(3_000);
  await leave(other, 3_000);
  expect(await store.redis.pttl(store.keys.routes("u1"))).toBeLessThanOrEqual(3_000);
});

test("a connection of a stopping node does not count, and is not evicted", async () => {
  const old = await connect("c1");
  await connect("c2");
  expect(await markLeaving(store.scripts, store.keys, [{ userId: "u1", member: old }])).toEqual([
    `${old}/leaving`,
  ]);
  await connect("c1-again", { node: "n2" });
  expect((await ids()).sort()).toEqual(["c1", "c1-again", "c2"]);
  expect(await readRoutes(store.scripts, store.keys, ["u1"])).toEqual([["n1", "n2"]]);
});

test("the set still expires", async () => {
  const member = await connect("c1");
  await markLeaving(store.scripts, store.keys, [{ userId: "u1", member }]);
  expect(await store.redis.pttl(store.keys.routes("u1"))).toBeGreaterThan(0);
});

test("its lease stays; it can be renewed, registered again and removed", async () => {
  const member = await connect("c1");
  const before = await store.redis.zscore(store.keys.routes("u1"), member);
  const [leaving = ""] = await markLeaving(store.scripts, store.keys, [{ userId: "u1", member }]);
  expect(await store.redis.zscore(store.keys.routes("u1"), leaving)).toBe(before);
  expect(
    await renewRoutes(store.scripts, store.keys, [{ userId: "u1", member: leaving }], {
      leaseMs: 30_000,
      keepsRoutes: true,
    }),
  ).toEqual([]);
  const connectTimeMs = Number(member.slice(0, 13));
  await connect("c2");
  await connect("c3");
  expect(await connect("c1", { connectTimeMs, isLeaving: true })).toBe(leaving);
  expect((await ids()).length).toBe(3);
  // Its node may not know yet that it was marked.
  await leave(member, 0);
  expect(await ids()).toEqual(["c2", "c3"]);
});

test("does not mark one that is not registered", async () => {
  const member = await connect("c1");
  await leave(member, 0);
  expect(await markLeaving(store.scripts, store.keys, [{ userId: "u1", member }])).toEqual([member]);
  expect(await members()).toEqual([]);
});
