// Tests that registering and heartbeats check whether a connection's token is revoked.
// Guarantees: by the user's generation, by the session, and by the token itself; the script does nothing else then.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute, type RouteLimits } from "./connect-routes.js";
import { renewRoutes } from "./route-store.js";
import type { RouteToken } from "./route-token.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const limits: RouteLimits = { ...routeLimits, maxConnectionsPerUser: 2 };
const token: RouteToken = { generation: 1_000, sessionId: "s1", jti: "j1" };
const withoutSession: RouteToken = { ...token, sessionId: "" };

function connect(of: RouteToken, connection = "c1", connectTimeMs?: number) {
  const again = connectTimeMs === undefined ? {} : { connectTimeMs };
  const route = { userId: "u1", node: "n1", connection, platform: "web", token: of, ...again };
  return connectRoute(store.scripts, store.keys, route, limits);
}

async function connected(of: RouteToken, connection = "c1"): Promise<string> {
  const result = await connect(of, connection);
  if (result.outcome !== "connected") throw new Error(result.outcome);
  return result.member;
}

const revocations: readonly [string, () => Promise<unknown>][] = [
  ["all tokens of the user", () => store.redis.set(store.keys.tokenGeneration("u1"), "1001")],
  ["its session", () => store.redis.set(store.keys.revokedSession("u1", "s1"), "1")],
  ["itself", () => store.redis.set(store.keys.revokedToken("j1"), "1")],
];

describe.each(revocations)("revoked: %s", (_what, revoke) => {
  test("refuses a newcomer, changes nothing, and evicts nobody for it", async () => {
    const other = { generation: 2_000, sessionId: "s2", jti: "j2" };
    await connected(other, "a");
    await connected(other, "b");
    const heard = await store.listen(`${store.keys.channel}n1`);
    await revoke();
    const before = await store.snapshot();
    expect(await connect(token)).toEqual({ outcome: "revoked" });
    expect(await store.snapshot()).toEqual(before);
    expect(heard).toEqual([]);
  });

  test("refuses one that registers again, too", async () => {
    const member = await connected(token);
    await revoke();
    expect(await connect(token, "c1", Number(member.split("/")[0]))).toEqual({ outcome: "revoked" });
  });

  test("does not renew its lease, and names it; the others' are renewed", async () => {
    const good = { generation: 2_000, sessionId: "s2", jti: "j2" };
    const routes = [
      { userId: "u1", member: await connected(good, "a"), token: good },
      { userId: "u1", member: await connected(token, "b"), token },
    ];
    await revoke();
    const before = await store.redis.zscore(store.keys.routes("u1"), routes[1]?.member ?? "");
    expect(
      await renewRoutes(store.scripts, store.keys, routes, { leaseMs: 60_000, keepsRoutes: true }),
    ).toEqual([1]);
    expect(await store.redis.zscore(store.keys.routes("u1"), routes[1]?.member ?? "")).toBe(before);
  });
});

test("a token revoked by a name that the previous release gave it: refused, also when it registers again", async () => {
  const named: RouteToken = { ...withoutSession, jti: "new", formerNames: ["old"] };
  const member = await connected(named);
  await store.redis.set(store.keys.revokedToken("old"), "1");
  expect(await connect(named, "c2")).toEqual({ outcome: "revoked" });
  expect(await connect(named, "c1", Number(member.split("/")[0]))).toEqual({ outcome: "revoked" });
  expect(await connect({ ...named, formerNames: ["other"] }, "c3")).toMatchObject({ outcome: "connected" });
});

test("the revocation's own generation is good: issued since", async () => {
  await store.redis.set(store.keys.tokenGeneration("u1"), "1000");
  expect(await connect(token)).toMatchObject({ outcome: "connected" });
});

test("a token without a session matches no session's revocation", async () => {
  await store.redis.set(store.keys.revokedSession("u1", "s1"), "1");
  expect(await connect(withoutSession)).toMatchObject({ outcome: "connected" });
});

test("another user's or session's revocation has no effect", async () => {
  await store.redis.set(store.keys.tokenGeneration("u2"), "9999");
  await store.redis.set(store.keys.revokedSession("u2", "s1"), "1");
  await store.redis.set(store.keys.revokedSession("u1", "s2"), "1");
  await store.redis.set(store.keys.revokedToken("j2"), "1");
  const member = await connected(token);
  expect(
    await renewRoutes(store.scripts, store.keys, [{ userId: "u1", member, token }], {
      leaseMs: 60_000,
      keepsRoutes: true,
    }),
  ).toEqual([]);
});
