// Tests how stored times are corrected after the master's clock was set back.
// Guarantees: as if the clock had been right when they were written; each time is moved once, however many there are; a
// stale owner moves nothing.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { FALLBACK_GROUP } from "../fallback/fallback-queue.js";
import { keepTime, setBack } from "./keep-time.js";
import type { PartitionKeys } from "../keys.js";

const BACK_MS = 40_000;
/** No former release, and no test, leaves a partition idle for longer. */
const SLACK_MS = 10_000;

let store: OpenStore;
let keys: PartitionKeys;
let token: string;
let nowMs: number;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(async () => {
  await store.clear();
  token = await store.own();
  nowMs = await store.nowMs();
});
afterAll(() => store.close());

/** The former clock, which everything so far was written by. */
const formerMs = (): number => nowMs + BACK_MS;

async function follow(): Promise<number> {
  const time = await keepTime(store.scripts, keys, token);
  if (time === "stale") throw new Error(time);
  if (time.backMs === 0) return 0;
  const options = { ...time, armedForMs: 70_000, isHeld: () => true };
  expect(await setBack(store.scripts, keys, token, options)).toBe(true);
  await keepTime(store.scripts, keys, token, true);
  return time.backMs;
}

test("records the time once a second, and reports a larger step back until it is corrected", async () => {
  const at = async (): Promise<number> => Number(await store.redis.hget(keys.generation, "at"));
  expect(await follow()).toBe(0);
  const first = await at();
  expect(first).toBeGreaterThanOrEqual(nowMs);
  await store.redis.hset(keys.generation, "at", first - 5_000);
  expect(await follow()).toBe(0);
  expect(await at()).toBeGreaterThanOrEqual(first);

  await store.redis.hset(keys.generation, "at", (await store.nowMs()) + 900);
  expect(await follow()).toBe(0);
  await store.redis.hset(keys.generation, "at", formerMs());
  for (let i = 0; i < 2; i++) {
    // An owner that dies on the way leaves the work to the next one.
    const time = await keepTime(store.scripts, keys, token);
    expect(time === "stale" ? time : time.backMs).toBeGreaterThan(BACK_MS - SLACK_MS);
  }
  expect(await follow()).toBeGreaterThan(BACK_MS - SLACK_MS);
  expect(await follow()).toBe(0);
});

test.each(["", `${"1".repeat(40)} ${"2".repeat(40)}`])(
  "records it before the next change of the replid, if a release that knows no process has left %o",
  async (left) => {
    await follow();
    const replid = /^master_replid:(\w+)/m.exec(await store.redis.info("replication"))?.[1];
    const runId = /^run_id:(\w+)/m.exec(await store.redis.info("server"))?.[1];
    if (left === "") await store.redis.hdel(keys.generation, "run");
    else await store.redis.hset(keys.generation, "run", left);
    expect(await follow()).toBe(0);
    expect(await store.redis.hmget(keys.generation, "replid", "run", "n")).toEqual([
      replid,
      `${replid} ${runId}`,
      "1",
    ]);
  },
);

test("moves users and retries, more than one call takes, by the step, once, and never before now", async () => {
  const users = Array.from({ length: 450 }, (_, i) => `u${i}`);
  const entries = Array.from({ length: 1_200 }, (_, i) => `1\t${i}`);
  // Many at the same moment, and some that were due by the former clock.
  const armed = (i: number): number => formerMs() - 5_000 + Math.floor(i / 50) * 1_000;
  await store.redis.zadd(keys.due, ...users.flatMap((user, i) => [armed(i), user]));
  await store.redis.zadd(keys.retries, ...entries.flatMap((entry, i) => [armed(i), entry]));
  await store.redis.zadd(keys.retriesOf("web"), ...entries.flatMap((entry, i) => [armed(i), entry]));
  const far = formerMs() + 86_400_000;
  await store.redis.zadd(keys.due, far, "waits for an expiry");
  await store.redis.hset(keys.generation, { at: formerMs(), n: "1" });
  const back = await follow();
  const afterMs = await store.nowMs();
  for (const [key, names] of [
    [keys.due, users],
    [keys.retries, entries],
    [keys.retriesOf("web"), entries],
  ] as const) {
    for (const [i, name] of names.entries()) {
      const score = Number(await store.redis.zscore(key, name));
      const expected = armed(i) - back;
      expect(score, name).toBeGreaterThanOrEqual(Math.max(nowMs, expected));
      expect(score, name).toBeLessThanOrEqual(Math.max(afterMs, expected));
    }
  }
  expect(Number(await store.redis.zscore(keys.due, "waits for an expiry"))).toBe(far);
});

test("moves a user's recorded times, and a grace lease, by the step; a live connection's lease stays", async () => {
  await store.accepter().accept(message());
  const user = keys.user("u1");
  const before = { nudgedAt: formerMs() - 100, spared: formerMs() - 100, graceFrom: formerMs() - 200 };
  await store.redis.hset(user, { ...before, unheardAt: nowMs - 50 });
  const routes = {
    "1/-/c1/web": formerMs() + 2_000,
    "2/n1/c2/web": formerMs() + 60_000,
    "3/-/c3/web": nowMs + 2_000,
  };
  for (const [member, score] of Object.entries(routes))
    await store.redis.zadd(keys.routes("u1"), score, member);
  await store.redis.hset(keys.generation, "at", formerMs());
  const back = await follow();
  expect(await store.redis.hgetall(user)).toMatchObject({
    nudgedAt: String(before.nudgedAt - back),
    spared: String(before.spared - back),
    graceFrom: String(before.graceFrom - back),
    unheardAt: String(nowMs - 50),
  });
  const scores = await store.redis.zrange(keys.routes("u1"), "0", "-1", "WITHSCORES");
  const grace = Number(scores[scores.indexOf("1/-/c1/web") + 1]);
  expect(Math.abs(grace - (nowMs + 2_000))).toBeLessThan(SLACK_MS);
  expect(scores).toContain(String(routes["2/n1/c2/web"]));
  expect(scores).toContain(String(routes["3/-/c3/web"]));
});

test("the time after a change of generation ends when it would have", async () => {
  await follow();
  await store.redis.hset(keys.generation, { at: formerMs(), since: formerMs() - 1_000 });
  const back = await follow();
  expect(await store.redis.hget(keys.generation, "since")).toBe(String(formerMs() - 1_000 - back));
});

test("an entry held since a future time is held from now on, by the same worker, with the same count", async () => {
  const stream = keys.fallback("normal");
  await store.redis.xgroup("CREATE", stream, FALLBACK_GROUP, "0", "MKSTREAM");
  const id = String(await store.redis.xadd(stream, "*", "m", "x", "n", "0"));
  await store.redis.xreadgroup("GROUP", FALLBACK_GROUP, "dead", "COUNT", 1, "STREAMS", stream, ">");
  await store.redis.xclaim(stream, FALLBACK_GROUP, "dead", 0, id, "TIME", formerMs(), "JUSTID");
  await store.redis.hset(keys.generation, "at", formerMs());
  await follow();
  const heldForMs = async (): Promise<number> => {
    const [entry] = (await store.redis.xpending(stream, FALLBACK_GROUP, "-", "+", 10)) as [
      [string, string, number, number],
    ];
    expect([entry[0], entry[1], entry[3]]).toEqual([id, "dead", 1]);
    return entry[2];
  };
  await expect.poll(heldForMs, { timeout: 10_000 }).toBeGreaterThan(0);
});

test("a stale owner is refused, and moves nothing", async () => {
  await store.redis.zadd(keys.due, formerMs(), "u1");
  await store.redis.hset(keys.generation, "at", formerMs());
  const before = await store.snapshot();
  expect(await keepTime(store.scripts, keys, "0.other")).toBe("stale");
  const options = { nowMs, backMs: BACK_MS, armedForMs: 1_000, isHeld: () => true };
  expect(await setBack(store.scripts, keys, "0.other", options)).toBe(false);
  expect(await setBack(store.scripts, keys, token, { ...options, isHeld: () => false })).toBe(false);
  expect(await store.snapshot()).toEqual(before);
});
