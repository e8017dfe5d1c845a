// Tests the heartbeat step.
// Guarantees: leases of registered connections are renewed; what is missing is named and never added.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute } from "./connect-routes.js";
import { removeRoute, renewRoutes } from "./route-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function connect(userId: string): Promise<{ userId: string; member: string }> {
  const route = { userId, node: "n1", connection: `c-${userId}`, platform: "web" };
  const result = await connectRoute(store.scripts, store.keys, route, routeLimits);
  if (result.outcome !== "connected") throw new Error("refused");
  return { userId, member: result.member };
}

const renew = (routes: readonly { userId: string; member: string }[]) =>
  renewRoutes(store.scripts, store.keys, routes, { leaseMs: 60_000, keepsRoutes: true });
const leaseEnd = async ({ userId, member }: { userId: string; member: string }) =>
  Number(await store.redis.zscore(store.keys.routes(userId), member));

test("renews leases in a batch, by Redis' clock", async () => {
  const routes = [await connect("u1"), await connect("u2")];
  const before = await store.nowMs();
  expect(await renew(routes)).toEqual([]);
  for (const route of routes) expect(await leaseEnd(route)).toBeGreaterThanOrEqual(before + 60_000);
});

test("names missing routes by their place, and does not add them", async () => {
  const [first, second, third] = [await connect("u1"), await connect("u2"), await connect("u3")];
  await removeRoute(store.scripts, store.keys, "u1", first.member, 0);
  await removeRoute(store.scripts, store.keys, "u3", third.member, 0);
  const stranger = { userId: "u2", member: second.member.replace("c-u2", "c-other") };
  expect(await renew([first, second, third, stranger])).toEqual([0, 2, 3]);
  expect(await store.redis.exists(store.keys.routes("u1"), store.keys.routes("u3"))).toBe(0);
  expect(await store.redis.zrange(store.keys.routes("u2"), "0", "-1")).toEqual([second.member]);
});

test("makes none for a user without any route", async () => {
  const before = await store.snapshot();
  expect(await renew([{ userId: "nobody", member: "0000000000001/n1/c1/web" }])).toEqual([0]);
  expect(await store.snapshot()).toEqual(before);
});

test("renews leases even when Redis is out of memory: nobody goes offline for that", async () => {
  const route = await connect("u1");
  await store.redis.config("SET", "maxmemory", "1");
  try {
    const before = await store.nowMs();
    expect(await renew([route])).toEqual([]);
    expect(await leaseEnd(route)).toBeGreaterThanOrEqual(before + 60_000);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});

test("a renewal that changes nothing, in the same millisecond, finds its route all the same", async () => {
  const route = await connect("u1");
  expect(await renew([route, route])).toEqual([]);
});

test("keeps the users' routes for some leases if it is to; else they end when they would have", async () => {
  const route = await connect("u1");
  const key = store.keys.routes("u1");
  const before = await store.redis.pexpiretime(key);
  expect(
    await renewRoutes(store.scripts, store.keys, [route], { leaseMs: 60_000, keepsRoutes: false }),
  ).toEqual([]);
  expect(await store.redis.pexpiretime(key)).toBe(before);
  expect(await renew([route])).toEqual([]);
  expect(await store.redis.pexpiretime(key)).toBeGreaterThanOrEqual((await leaseEnd(route)) + 2 * 60_000);
});

test.each([
  { keepsRoutes: true, calls: { mget: 3, zadd: 3, pexpire: 3 } },
  { keepsRoutes: false, calls: { mget: 3, zadd: 3 } },
])(
  "takes $calls for three connections with tokens if keepsRoutes is $keepsRoutes",
  async ({ keepsRoutes, calls: expected }) => {
    const token = { generation: 0, sessionId: "s1", jti: "j1" };
    const routes = [await connect("u1"), await connect("u2"), await connect("u3")];
    await store.redis.config("RESETSTAT");
    expect(
      await renewRoutes(
        store.scripts,
        store.keys,
        routes.map((route) => ({ ...route, token })),
        { leaseMs: 60_000, keepsRoutes },
      ),
    ).toEqual([]);
    const stats = await store.redis.info("commandstats");
    const calls = Object.fromEntries(
      [...stats.matchAll(/^cmdstat_([^:|]+):calls=(\d+)/gm)].map(([, name, times]) => [name, Number(times)]),
    );
    expect(calls).toMatchObject(expected);
    for (const name of ["get", "exists", "zscore"]) expect(calls[name]).toBeUndefined();
    expect(calls["pexpire"]).toBe(keepsRoutes ? 3 : undefined);
  },
);
