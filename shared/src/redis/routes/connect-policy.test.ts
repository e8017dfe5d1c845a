// Tests the session policy, decided in the connect step across all nodes.
// Guarantees: of connections that rival each other the newest stays, whatever the order of calls, ties and clocks.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRoute, type RouteLimits, type SessionPolicy } from "./connect-routes.js";
import { markLeaving, readConnections, removeRoute } from "./route-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const base: RouteLimits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 5,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
};
const one: RouteLimits = { ...base, sessionPolicy: "one" };
const perPlatform: RouteLimits = { ...base, sessionPolicy: "one-per-platform" };

interface Who {
  readonly platform?: string;
  readonly node?: string;
  readonly connectTimeMs?: number;
  readonly isLeaving?: boolean;
  readonly notAfterMs?: number;
}

function connect(
  connection: string,
  limits: RouteLimits,
  { platform = "web", node = "n1", ...rest }: Who = {},
) {
  return connectRoute(
    store.scripts,
    store.keys,
    { userId: "u1", node, connection, platform, ...rest },
    limits,
  );
}

async function connected(connection: string, limits: RouteLimits, who: Who = {}): Promise<string> {
  const result = await connect(connection, limits, who);
  if (result.outcome !== "connected") throw new Error(`${connection}: ${result.outcome}`);
  return result.member;
}

const ids = async () => (await readConnections(store.scripts, store.keys, "u1")).map(({ id }) => id);
const timeOf = (member: string) => Number(member.split("/")[0]);

describe("one", () => {
  test("a sign-in on another node replaces the older, which is told why", async () => {
    const heard = await store.listen(`${store.keys.channel}n1`);
    await connected("a", one);
    await connected("b", one, { node: "n2", platform: "ios" });
    expect(await ids()).toEqual(["b"]);
    await waitFor(() => heard.length > 0, { what: "the eviction" });
    expect(heard).toEqual(["evict\nu1\ta\telsewhere\tios"]);
  });

  test("connections from before the policy are removed at the next sign-in, all of them", async () => {
    for (const id of ["a", "b", "c"]) await connected(id, base);
    await connected("d", one);
    expect(await ids()).toEqual(["d"]);
  });

  test("the same device is admitted again while its half-dead socket is still registered", async () => {
    await connected("dead", one, { platform: "ios" });
    await connected("alive", one, { platform: "ios" });
    expect(await ids()).toEqual(["alive"]);
  });

  test("refuses an older one that registers again, naming the newest one's platform, and changes nothing", async () => {
    const now = await store.nowMs();
    await connected("newer", base, { connectTimeMs: now - 1_000, platform: "ios" });
    await connected("newest", base, { connectTimeMs: now - 500, platform: "android" });
    const before = await store.snapshot();
    expect(await connect("old", one, { connectTimeMs: now - 2_000 })).toEqual({
      outcome: "elsewhere",
      platform: "android",
    });
    expect(await store.snapshot()).toEqual(before);
  });

  test("the newest may register again, which removes others older than it", async () => {
    const now = await store.nowMs();
    await connected("older", base, { connectTimeMs: now - 1_000 });
    await connected("newest", base, { connectTimeMs: now - 500 });
    await connected("newest", one, { connectTimeMs: now - 500 });
    expect(await ids()).toEqual(["newest"]);
  });

  test("in the same millisecond, or on a clock that was set back, the later one is the newer", async () => {
    const ahead = (await store.nowMs()) + 60_000;
    await connected("zz", one, { node: "n9", connectTimeMs: ahead });
    const member = await connected("aa", one);
    expect(timeOf(member)).toBe(ahead + 1);
    expect(await ids()).toEqual(["aa"]);
    // The replaced connection missed that: it comes back, and is refused.
    expect(await connect("zz", one, { node: "n9", connectTimeMs: ahead })).toMatchObject({
      outcome: "elsewhere",
    });
    expect(await ids()).toEqual(["aa"]);
  });

  test("connections of a stopping node are replaced by nobody and replace nobody", async () => {
    const member = await connected("leaving", one);
    await markLeaving(store.scripts, store.keys, [{ userId: "u1", member }]);
    await connected("moved", one, { node: "n2" });
    expect(await ids()).toEqual(["leaving", "moved"]);
    // Its node lost its subscription while it drains: it registers again.
    await connected("leaving", one, { connectTimeMs: timeOf(member), isLeaving: true });
    expect(await ids()).toEqual(["leaving", "moved"]);
  });

  test("a closed socket's grace lease cannot be replaced", async () => {
    const member = await connected("gone", one);
    await removeRoute(store.scripts, store.keys, "u1", member, 5_000);
    const heard = await store.listen(`${store.keys.channel}n1`, `${store.keys.channel}-`);
    await connected("back", one);
    expect(await ids()).toEqual(["back"]);
    await connected("next", one);
    await waitFor(() => heard.length > 0, { what: "the eviction" });
    expect(heard).toEqual(["evict\nu1\tback\telsewhere\tweb"]);
  });

  test("an expired lease replaces nothing and is not told", async () => {
    await connected("over", one);
    await store.endLeases("u1");
    const heard = await store.listen(`${store.keys.channel}n1`);
    await connected("b", one);
    await connected("c", one);
    await waitFor(() => heard.length > 0, { what: "an eviction" });
    expect(heard).toEqual(["evict\nu1\tb\telsewhere\tweb"]);
  });

  test("with refusal at the limit, a sign-in still replaces the older one", async () => {
    const strict: RouteLimits = { ...one, whenFull: "refuse", maxConnectionsPerUser: 1 };
    await connected("a", strict);
    await connected("b", strict);
    expect(await ids()).toEqual(["b"]);
  });
});

test("a call that runs too late changes nothing and closes nobody; one in time does", async () => {
  await connected("came by another way", one);
  const heard = await store.listen(`${store.keys.channel}n1`);
  const before = await store.snapshot();
  const now = await store.nowMs();
  expect(await connect("was stuck", one, { notAfterMs: now - 1 })).toEqual({ outcome: "late" });
  expect(await store.snapshot()).toEqual(before);
  expect(heard).toEqual([]);
  await connected("is quick", one, { notAfterMs: now + 60_000 });
  expect(await ids()).toEqual(["is quick"]);
});

describe("one-per-platform", () => {
  test("platforms do not affect each other", async () => {
    await connected("w1", perPlatform);
    await connected("i1", perPlatform, { platform: "ios" });
    await connected("w2", perPlatform, { node: "n2" });
    expect(await ids()).toEqual(["i1", "w2"]);
  });

  test("a platform whose name is another's suffix is another platform", async () => {
    await connected("a", perPlatform, { platform: "os" });
    await connected("b", perPlatform, { platform: "ios" });
    expect(await ids()).toEqual(["a", "b"]);
  });

  test("an older one of another platform may register again", async () => {
    const now = await store.nowMs();
    await connected("newer", perPlatform, { platform: "ios", connectTimeMs: now - 1_000 });
    await connected("older", perPlatform, { connectTimeMs: now - 2_000 });
    expect(await ids()).toEqual(["older", "newer"]);
  });

  test("the limit counts what remains: its own reason for those it closes", async () => {
    const heard = await store.listen(`${store.keys.channel}n1`);
    const limits: RouteLimits = { ...perPlatform, maxConnectionsPerUser: 2 };
    const now = await store.nowMs();
    await connected("ios", limits, { platform: "ios", connectTimeMs: now - 3_000 });
    await connected("web", limits, { connectTimeMs: now - 2_000 });
    // Takes the slot of `web`: no room is needed.
    await connected("web2", limits);
    expect(await ids()).toEqual(["ios", "web2"]);
    await connected("tv", limits, { platform: "tv" });
    expect(await ids()).toEqual(["web2", "tv"]);
    await waitFor(() => heard.length === 2, { what: "both" });
    expect(heard).toEqual(["evict\nu1\tweb\telsewhere\tweb", "evict\nu1\tios\tlimit\ttv"]);
  });

  test("with refusal at the limit, the limit refuses before anything is replaced", async () => {
    const limits: RouteLimits = { ...perPlatform, whenFull: "refuse", maxConnectionsPerUser: 2 };
    await connected("ios", limits, { platform: "ios" });
    await connected("tv", limits, { platform: "tv" });
    const before = await store.snapshot();
    expect(await connect("web", limits)).toEqual({ outcome: "refused", connections: 2 });
    expect(await store.snapshot()).toEqual(before);
    await connected("tv2", limits, { platform: "tv" });
    expect(await ids()).toEqual(["ios", "tv2"]);
  });
});

test("whatever the order of sign-ins and re-registrations, only the newest of each scope stays", async () => {
  const step = fc.record({
    who: fc.nat({ max: 5 }),
    platform: fc.constantFrom("web", "ios"),
    again: fc.boolean(),
  });
  const policies = fc.constantFrom<SessionPolicy>("one", "one-per-platform");
  await fc.assert(
    fc.asyncProperty(
      policies,
      fc.array(step, { minLength: 1, maxLength: 12 }),
      async (sessionPolicy, steps) => {
        await store.redis.flushall();
        const limits: RouteLimits = { ...base, sessionPolicy };
        const known = new Map<string, { readonly time: number; readonly platform: string }>();
        const newest = new Map<string, string>();
        const scopeOf = (platform: string) => (sessionPolicy === "one" ? "all" : platform);
        for (const [i, { who, platform, again }] of steps.entries()) {
          const former = [...known.keys()][who % Math.max(1, known.size)];
          const old = former === undefined ? undefined : known.get(former);
          if (again && former !== undefined && old !== undefined) {
            const result = await connect(former, limits, { platform: old.platform, connectTimeMs: old.time });
            const isNewest = newest.get(scopeOf(old.platform)) === former;
            expect(result.outcome).toBe(isNewest ? "connected" : "elsewhere");
          } else {
            const id = `c${i}`;
            known.set(id, { time: timeOf(await connected(id, limits, { platform })), platform });
            newest.set(scopeOf(platform), id);
          }
        }
        expect(new Set(await ids())).toEqual(new Set(newest.values()));
      },
    ),
    { numRuns: sized(60, 30) },
  );
});

describe.each(["leaving", "-", ".", "limit", "elsewhere", "ok", "refused", "web"])(
  "the platform %s is not special",
  (platform) => {
    test("takes its slot among those that a user may have", async () => {
      const two = { ...base, maxConnectionsPerUser: 2 };
      for (const name of ["a", "b", "c", "d"]) await connected(name, two, { platform });
      expect(await ids()).toEqual(["c", "d"]);
      const refused = await connect("e", { ...two, whenFull: "refuse" }, { platform });
      expect(refused).toEqual({ outcome: "refused", connections: 2 });
    });

    test("is replaced by a newer sign-in, and reported to the older", async () => {
      const older = await connected("a", one, { platform });
      const heard = await store.listen(`${store.keys.channel}n1`);
      await connected("b", one, { platform });
      expect(await ids()).toEqual(["b"]);
      await waitFor(() => heard.length === 1, { what: "the word to its node" });
      expect(heard).toEqual([`evict\nu1\ta\telsewhere\t${platform}`]);
      expect(await connect("a", one, { platform, connectTimeMs: timeOf(older) })).toEqual({
        outcome: "elsewhere",
        platform,
      });
      await connected("c", perPlatform, { platform });
      await connected("x", perPlatform, { platform: "another" });
      expect(await ids()).toEqual(["c", "x"]);
    });

    test("leaves room for another while its node stops, and only then; its grace lease takes no slot", async () => {
      const member = await connected("a", one, { platform });
      const [marked = ""] = await markLeaving(store.scripts, store.keys, [{ userId: "u1", member }]);
      const moved = await connected("b", one, { platform });
      expect(await ids()).toEqual(["a", "b"]);
      await removeRoute(store.scripts, store.keys, "u1", marked, 3_000);
      await removeRoute(store.scripts, store.keys, "u1", moved, 3_000);
      expect(await ids()).toEqual([]);
      await connected("c", one, { platform });
      const found = await readConnections(store.scripts, store.keys, "u1");
      expect(found).toMatchObject([{ id: "c", node: "n1", platform }]);
    });
  },
);
