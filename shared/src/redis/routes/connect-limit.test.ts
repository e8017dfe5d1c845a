// Tests the limit of connections per user, decided in the connect step across all nodes.
// Guarantees: age is the connect time, never the score, so heartbeats do not make a connection younger.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRoute, type RouteLimits } from "./connect-routes.js";
import { readConnections, renewRoutes } from "./route-store.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const evict: RouteLimits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 2,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
};
const refuse: RouteLimits = { ...evict, whenFull: "refuse" };

interface Where {
  readonly node?: string;
  readonly connectTimeMs?: number;
  readonly userId?: string;
}

async function connect(
  connection: string,
  limits: RouteLimits,
  { node = "n1", userId = "u1", ...rest }: Where = {},
) {
  return connectRoute(
    store.scripts,
    store.keys,
    { userId, node, connection, platform: "web", ...rest },
    limits,
  );
}

/** @returns the member, for heartbeats */
async function connected(connection: string, limits: RouteLimits, where: Where = {}): Promise<string> {
  const result = await connect(connection, limits, where);
  if (result.outcome !== "connected") throw new Error(`${connection} was refused`);
  return result.member;
}

const ids = async () => (await readConnections(store.scripts, store.keys, "u1")).map(({ id }) => id);

describe("policy evict", () => {
  test("removes the oldest by connect time, though heartbeats gave it the highest score", async () => {
    const now = await store.nowMs();
    const oldest = await connected("oldest", evict, { connectTimeMs: now - 2_000 });
    await connected("younger", evict, { connectTimeMs: now - 1_000 });
    await renewRoutes(store.scripts, store.keys, [{ userId: "u1", member: oldest }], {
      leaseMs: 90_000,
      keepsRoutes: true,
    });
    const byScore = await store.redis.zrange(store.keys.routes("u1"), "0", "-1");
    expect(byScore.at(-1)).toBe(oldest);
    await connected("newest", evict);
    expect(await ids()).toEqual(["younger", "newest"]);
  });

  test("tells its node, on its channel, whichever node the newcomer is on", async () => {
    const heard = await store.listen(`${store.keys.channel}n1`);
    const elsewhere = await store.listen(`${store.keys.channel}n2`);
    const now = await store.nowMs();
    await connected("first", evict, { node: "n1", connectTimeMs: now - 3 });
    await connected("second", evict, { node: "n2", connectTimeMs: now - 2 });
    await connected("third", evict, { node: "n2", connectTimeMs: now - 1 });
    await waitFor(() => heard.length > 0, { what: "the eviction" });
    expect(heard).toEqual(["evict\nu1\tfirst\tlimit\tweb"]);
    expect(elsewhere).toEqual([]);
  });

  test("refuses a connection that registers again and is older than all others, and changes nothing", async () => {
    const now = await store.nowMs();
    await connected("b", evict, { connectTimeMs: now - 2_000 });
    await connected("c", evict, { connectTimeMs: now - 1_000 });
    const heard = await store.listen(`${store.keys.channel}n1`);
    const before = await store.snapshot();
    expect(await connect("a", evict, { connectTimeMs: now - 3_000 })).toEqual({
      outcome: "refused",
      connections: 2,
    });
    expect(await store.snapshot()).toEqual(before);
    expect(heard).toEqual([]);
  });

  test("a connection that registers again and is younger takes the slot of the oldest", async () => {
    const now = await store.nowMs();
    await connected("a", evict, { connectTimeMs: now - 3_000 });
    await connected("c", evict, { connectTimeMs: now - 1_000 });
    await connected("b", evict, { connectTimeMs: now - 2_000 });
    expect(await ids()).toEqual(["b", "c"]);
  });

  test("a registered connection that registers again takes no second slot", async () => {
    const now = await store.nowMs();
    const member = await connected("a", evict, { connectTimeMs: now - 2_000 });
    await connected("b", evict, { connectTimeMs: now - 1_000 });
    expect(await connected("a", evict, { connectTimeMs: now - 2_000 })).toBe(member);
    expect(await ids()).toEqual(["a", "b"]);
  });

  test("with a lowered limit, removes as many as there are too many", async () => {
    const now = await store.nowMs();
    for (const [i, id] of ["a", "b", "c", "d"].entries()) {
      await connected(id, { ...evict, maxConnectionsPerUser: 4 }, { connectTimeMs: now - 10 + i });
    }
    await connected("e", evict);
    expect(await ids()).toEqual(["d", "e"]);
  });

  test("of concurrent newcomers, the limit's number of youngest stay", async () => {
    const now = await store.nowMs();
    const order = [3, 0, 4, 1, 2];
    await Promise.all(
      order.map((i) => connect(`c${i}`, evict, { connectTimeMs: now - 100 + i, node: `n${i % 2}` })),
    );
    expect(await ids()).toEqual(["c3", "c4"]);
  });
});

describe("policy refuse", () => {
  test("refuses the newcomer and changes nothing", async () => {
    await connected("a", refuse);
    await connected("b", refuse);
    const before = await store.snapshot();
    expect(await connect("c", refuse)).toEqual({ outcome: "refused", connections: 2 });
    expect(await store.snapshot()).toEqual(before);
  });

  test("lets a registered connection register again", async () => {
    const now = await store.nowMs();
    await connected("a", refuse, { connectTimeMs: now - 5 });
    await connected("b", refuse);
    await connected("a", refuse, { connectTimeMs: now - 5 });
    expect(await ids()).toEqual(["a", "b"]);
  });
});

test.each(["evict", "refuse"] as const)(
  "%s: a connection with an expired lease takes no slot",
  async (whenFull) => {
    const limits = { ...evict, whenFull };
    await connected("gone", limits);
    await store.endLeases("u1");
    await connected("b", limits);
    await connected("c", limits);
    expect(await store.redis.zcard(store.keys.routes("u1"))).toBe(2);
    expect(await ids()).toEqual(["b", "c"]);
  },
);

test("does not count another user's connections", async () => {
  for (const userId of ["u1", "u2", "u3"])
    await connected("a", { ...refuse, maxConnectionsPerUser: 1 }, { userId });
  expect(await ids()).toEqual(["a"]);
});
