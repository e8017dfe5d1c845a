// Tests what many schedules cost: memory each, and a round of promotion.
// Guarantees covered: memory within the documented figure; a round runs the same commands however many messages wait.
import { afterAll, beforeAll, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { findDueSchedules, promoteMessages, type PromoteRules } from "./promote-schedules.js";
import { MessageScheduler } from "./schedule-messages.js";

const SCHEDULES = process.env["PETREL_TEST_SIZE"] === "full" ? 1_000_000 : 10_000;
/** A message of 100 bytes, each for a user of its own: the most a schedule takes. */
const MAX_BYTES_EACH = 780;
const HOUR_MS = 3_600_000;
const ROUND = 50;
const rules: PromoteRules = {
  ackTimeoutMs: 10_000,
  inboxCap: 1_000,
  readyCap: 1_000_000,
  fallbackCap: 1_000,
  recordKeepMs: 25 * HOUR_MS,
  receiveLimit: 0,
  deadLettersCap: 100,
};

let store: OpenStore;
let scheduler: MessageScheduler;
beforeAll(async () => {
  store = await openStore();
  scheduler = new MessageScheduler({ ...store, maxInFlight: 2, cap: 2_000_000 });
});
afterAll(() => store.close());

async function usedBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await store.redis.info("memory"))?.[1]);
}

/** Commands and µs, from the server's own counts. */
async function measure(
  work: () => Promise<unknown>,
): Promise<{ readonly calls: number; readonly us: number }> {
  await store.redis.config("RESETSTAT");
  await work();
  const stats = await store.redis.info("commandstats");
  let [calls, us] = [0, 0];
  for (const [, name = "", count, time] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)) {
    if (name === "info" || name.startsWith("config")) continue;
    calls += Number(count);
    if (name === "evalsha" || name === "eval") us += Number(time);
  }
  return { calls, us };
}

/** Messages that are due, and a round that promotes them. */
async function promoteRound(label: string): Promise<{ readonly calls: number; readonly us: number }> {
  const { redis, keys, scripts } = store;
  const deliverAtMs = (await store.nowMs()) + HOUR_MS;
  await Promise.all(
    Array.from({ length: ROUND }, (_, i) =>
      scheduler.schedule({ ...message({ userId: `${label}${i}`, id: `m_${label}${i}` }), deliverAtMs }),
    ),
  );
  const members = (await redis.zrangebyscore(keys.scheduled, deliverAtMs, deliverAtMs)).filter((one) =>
    one.includes(`m_${label}`),
  );
  await redis.zadd(keys.scheduled, "XX", ...members.flatMap((member) => [1, member]));
  // Storing a million takes longer than a lease lasts.
  const token = await store.own();
  let promoted = 0;
  const cost = await measure(async () => {
    const due = await findDueSchedules(scripts, keys, ROUND);
    const promotion = await promoteMessages(scripts, keys, token, rules, due.members);
    promoted = typeof promotion === "object" ? promotion.results.length : 0;
  });
  expect(promoted).toBe(ROUND);
  return cost;
}

test(`${SCHEDULES} schedules: bytes each, and a round of promotion beside them`, async () => {
  // The generation, and what the scripts need themselves.
  await promoteRound("first");
  const before = await promoteRound("few");
  const emptyBytes = await usedBytes();
  const farMs = (await store.nowMs()) + 2 * HOUR_MS;
  for (let from = 0; from < SCHEDULES; from += 10_000) {
    await Promise.all(
      Array.from({ length: 10_000 }, (_, i) =>
        scheduler.schedule({
          ...message({
            userId: `user-${from + i}`,
            id: `p0_${String(from + i).padStart(22, "0")}`,
            data: JSON.stringify("x".repeat(98)),
            attempt: "-",
          }),
          deliverAtMs: farMs + (from + i) * 10,
        }),
      ),
    );
  }
  expect(await store.redis.zcard(store.keys.scheduled)).toBe(SCHEDULES);
  const bytesEach = ((await usedBytes()) - emptyBytes) / SCHEDULES;
  const beside = await promoteRound("many");
  process.stdout.write(
    `${SCHEDULES} schedules of 100 bytes: ${bytesEach.toFixed(0)} bytes each; a round of ${ROUND}: ` +
      `${beside.calls} commands, ${beside.us} µs; without them ${before.calls} commands, ${before.us} µs\n`,
  );
  expect(bytesEach).toBeLessThan(MAX_BYTES_EACH);
  expect(beside.calls).toBe(before.calls);
}, 600_000);
