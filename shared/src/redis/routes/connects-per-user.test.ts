// Tests how often one user may begin a connection, counted in the step that registers it.
// Guarantees: what an earlier window holds is written as the script would have, by Redis' own clock.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { subWindowMs } from "../../kernel/limits/window-ring.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute, type ConnectResult, type RouteLimits, type RouteToConnect } from "./connect-routes.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const LIMIT = 3;
const WINDOW_MS = 60_000;
const SUB_MS = subWindowMs(WINDOW_MS);
const limits: RouteLimits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 100,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
  connectsPerMinute: LIMIT,
};
let connections = 0;

async function connect(
  more: Partial<RouteToConnect> = {},
  its: RouteLimits = limits,
): Promise<ConnectResult> {
  const route = { userId: "u1", node: "n1", connection: `c${connections++}`, platform: "web", ...more };
  return connectRoute(store.scripts, store.keys, route, its);
}

async function outcomes(count: number, more: Partial<RouteToConnect> = {}): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) found.push((await connect(more)).outcome);
  return found;
}

/** As if so many had begun in sub-windows so far before the present one. */
async function begun(...parts: readonly (readonly [ago: number, count: number])[]): Promise<number> {
  const nowMs = await store.nowMs();
  const current = Math.floor(nowMs / SUB_MS);
  const ring = parts.map(([ago, count]) => `${current - ago}:${count}`);
  const used = parts.reduce((sum, [, count]) => sum + count, 0);
  await store.redis.set(store.keys.connects("u1"), [used, ...ring].join(" "));
  return nowMs;
}

test("admits the limit, then none, and makes no route; the wait ends with the window", async () => {
  const beforeMs = await store.nowMs();
  expect(await outcomes(LIMIT)).toEqual(["connected", "connected", "connected"]);
  const refused = await connect();
  const afterMs = await store.nowMs();
  if (refused.outcome !== "too-often") throw new Error(refused.outcome);
  // Until the sub-window in which the first ones began has left the window.
  const leavesAtMs = (Math.floor(beforeMs / SUB_MS) + 1) * SUB_MS + WINDOW_MS;
  expect(refused.retryAfterMs).toBeLessThanOrEqual(WINDOW_MS + SUB_MS);
  expect(refused.retryAfterMs).toBeGreaterThanOrEqual(leavesAtMs - afterMs);
  expect(await store.redis.zcard(store.keys.routes("u1"))).toBe(LIMIT);
  expect(await store.redis.pttl(store.keys.connects("u1"))).toBeGreaterThan(WINDOW_MS);
  expect((await connect({ userId: "u2" })).outcome).toBe("connected");
});

test("connects from before the window no longer count; those that may lie in it do", async () => {
  await begun([41, LIMIT]);
  expect(await outcomes(LIMIT + 1)).toEqual(["connected", "connected", "connected", "too-often"]);
  const nowMs = await begun([39, 2], [10, 1]);
  const refused = await connect();
  if (refused.outcome !== "too-often") throw new Error(refused.outcome);
  const leavesAtMs = (Math.floor(nowMs / SUB_MS) - 39 + 41) * SUB_MS;
  expect(refused.retryAfterMs).toBeLessThanOrEqual(leavesAtMs - nowMs);
  expect(refused.retryAfterMs).toBeGreaterThan(leavesAtMs - nowMs - SUB_MS);
});

test("forgets what has left the window, and counts on in the present sub-window", async () => {
  const ring = async (): Promise<string[]> =>
    ((await store.redis.get(store.keys.connects("u1"))) ?? "").split(" ");
  // Should a sub-window end in between, the next attempt has one to itself.
  for (;;) {
    const current = Math.floor((await begun([50, 9], [41, 7], [40, 1], [2, 1])) / SUB_MS);
    await connect({}, { ...limits, connectsPerMinute: 4 });
    const once = await ring();
    await connect({}, { ...limits, connectsPerMinute: 4 });
    const twice = await ring();
    if (Math.floor((await store.nowMs()) / SUB_MS) !== current) continue;
    expect(once).toEqual(["3", `${current - 40}:1`, `${current - 2}:1`, `${current}:1`]);
    expect(twice).toEqual(["4", `${current - 40}:1`, `${current - 2}:1`, `${current}:2`]);
    return;
  }
});

test("begins anew once all have left the window", async () => {
  for (;;) {
    const current = Math.floor((await begun([60, 9], [41, 7])) / SUB_MS);
    await connect();
    const ring = await store.redis.get(store.keys.connects("u1"));
    if (Math.floor((await store.nowMs()) / SUB_MS) !== current) continue;
    expect(ring).toBe(`1 ${current}:1`);
    return;
  }
});

test("after the clock was set back, nobody waits longer than a window", async () => {
  await begun([-100_000, LIMIT]);
  const refused = await connect();
  if (refused.outcome !== "too-often") throw new Error(refused.outcome);
  expect(refused.retryAfterMs).toBeLessThanOrEqual(WINDOW_MS + SUB_MS);
  const current = Math.floor((await store.nowMs()) / SUB_MS);
  const [used, index = ""] = ((await store.redis.get(store.keys.connects("u1"))) ?? "").split(/[ :]/);
  expect(used).toBe(String(LIMIT));
  expect(Number(index)).toBeLessThanOrEqual(current);
});

test("does not count one that registers again, or comes too late", async () => {
  const [known] = [await connect()];
  if (known.outcome !== "connected") throw new Error(known.outcome);
  const connectTimeMs = Number(known.member.split("/")[0]);
  expect(await outcomes(LIMIT, { connectTimeMs })).toEqual(["connected", "connected", "connected"]);
  expect(await outcomes(LIMIT, { notAfterMs: 1 })).toEqual(["late", "late", "late"]);
  expect(await outcomes(LIMIT)).toEqual(["connected", "connected", "too-often"]);
});

test("counts nothing without a limit", async () => {
  for (let i = 0; i < LIMIT + 1; i++) {
    expect((await connect({}, { ...limits, connectsPerMinute: 0 })).outcome).toBe("connected");
  }
  expect(await store.redis.exists(store.keys.connects("u1"))).toBe(0);
});
