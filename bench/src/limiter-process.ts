// test/limits-across-processes -> here: one of many processes that take from one limit as fast as it lets them.
// Guarantees: each grant is noted with Redis' clock: by a TIME sent right after the script's call, or, for what was
// taken ahead, by this machine's clock, which Redis shares.
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const [url = "", limit = "", windowMs = "", prepaid = "", forMs = "", key = ""] = process.argv.slice(2);

const logger = createLogger({ service: "limiter", level: "error" });
const redis = await connectRedis({ url, role: "limiter", logger, commandTimeoutMs: 60_000 });
const runner = new ScriptRunner(redis);
let grantedAtMs = 0;
const limiter = new SlidingWindowLimiter({
  scripts: {
    run: async (...call) => {
      const answer = runner.run(...call);
      const [seconds, micros] = await redis.time();
      const text = await answer;
      grantedAtMs = Number(seconds) * 1_000 + Number(micros) / 1_000;
      return text;
    },
    together: (task) => runner.together(task),
  },
  name: "shared",
  limit: Number(limit),
  windowMs: Number(windowMs),
  prepaid: Number(prepaid),
  deadlineMs: 60_000,
});

process.stdout.write("ready\n");
await once(process.stdin, "data");
const grants: [number, number][] = [];
const endsAtMs = Date.now() + Number(forMs);
for (let n = process.pid; Date.now() < endsAtMs; n++) {
  const count = n % 7 === 0 ? 3 : 1;
  const decision = limiter.take(key, count);
  const { allowed } = decision instanceof Promise ? await decision : decision;
  if (allowed) grants.push([decision instanceof Promise ? grantedAtMs : Date.now(), count]);
  // Lets others have their turn; after a refusal it asks again long before its time.
  await sleep(allowed ? 0 : 10);
}
process.stdout.write(`${JSON.stringify(grants)}\n`);
redis.disconnect();
process.stdin.destroy();
