// test/flows/limits/limits-across-processes.test.ts -> here: one of many processes that take from one limit as fast as it
// lets them.
// Guarantees: of each grant is noted between which two moments it happened: by a TIME sent before the script's call and
// one sent after it, or, for what was taken ahead, by this machine's clock, which Redis shares.
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** Not before, not after, how much. */
type Grant = readonly [fromMs: number, toMs: number, count: number];

const [url = "", limit = "", windowMs = "", forMs = "", ...shares] = process.argv.slice(2);

const logger = createLogger({ service: "limiter", level: "error" });
const redis = await connectRedis({ url, role: "limiter", logger, commandTimeoutMs: 60_000 });
const runner = new ScriptRunner(redis);

async function redisNowMs(): Promise<number> {
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1_000 + Number(micros) / 1_000;
}

/** @param prepaid the share of the limit that is taken ahead */
async function takeFrom(key: string, prepaid: number): Promise<Grant[]> {
  let asked: readonly [number, number] = [0, 0];
  const limiter = new SlidingWindowLimiter({
    scripts: {
      run: async (...call) => {
        const before = redisNowMs();
        const answer = runner.run(...call);
        asked = await Promise.all([before, redisNowMs()]);
        return answer;
      },
      together: (task) => runner.together(task),
    },
    name: "shared",
    limit: Number(limit),
    windowMs: Number(windowMs),
    prepaid,
    deadlineMs: 60_000,
  });
  const grants: Grant[] = [];
  const endsAtMs = Date.now() + Number(forMs);
  for (let n = process.pid; Date.now() < endsAtMs; n++) {
    const count = n % 7 === 0 ? 3 : 1;
    const before = Date.now();
    const decision = limiter.take(key, count);
    const isAsked = decision instanceof Promise;
    const { allowed } = isAsked ? await decision : decision;
    const [fromMs, toMs] = isAsked ? asked : [before, Date.now() + 1];
    if (allowed) grants.push([fromMs, toMs, count]);
    // Lets others have their turn; after a refusal it asks again long before its time.
    await sleep(allowed ? 0 : 10);
  }
  return grants;
}

process.stdout.write("ready\n");
await once(process.stdin, "data");
const grants = await Promise.all(shares.map((share) => takeFrom(`key-${share}`, Number(share))));
process.stdout.write(`${JSON.stringify(grants)}\n`);
redis.disconnect();
process.stdin.destroy();
