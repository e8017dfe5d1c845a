// node bench/dist/limits-under-latency.js: how much N processes admit of a limit while Redis answers slowly, or not at
// all: the table of docs/send/limits.md.
// Guarantees: each limiter has its own link through a delaying proxy; each is offered more than the whole limit,
// evenly, all the time; what counts is the fullest window, and the mean of the last seconds.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { startFaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { setTimeout as sleep } from "node:timers/promises";

const PROCESS_COUNTS = [1, 2, 4];
const ROUND_TRIPS_MS = [0, 100, 200, 400, 600, 1_000];
const FOR_MS = 16_000;
const STEADY_MS = 8_000;
const TICK_MS = 10;
/** A multiple of the limit, offered to each process. */
const OFFERED = 1.5;

interface Kind {
  readonly name: string;
  readonly limit: number;
  readonly windowMs: number;
  readonly open: (scripts: ScriptRunner) => { take(key: string): boolean | Promise<boolean> };
}

const asked = { limit: 800, windowMs: 4_000 };
const frames = { limit: 200, windowMs: 1_000 };

const kinds: readonly Kind[] = [
  ...[0, 0.01].map((prepaid) => ({
    name: prepaid === 0 ? "asked one by one" : "with shares",
    ...asked,
    open: (scripts: ScriptRunner) => {
      const limiter = new SlidingWindowLimiter({
        scripts,
        name: "bench",
        ...asked,
        prepaid,
      });
      return {
        take: (key: string) => {
          const decision = limiter.take(key);
          return decision instanceof Promise ? decision.then(({ allowed }) => allowed) : decision.allowed;
        },
      };
    },
  })),
  {
    name: "frames",
    ...frames,
    open: (scripts: ScriptRunner) => {
      const limiter = new ReportedWindowLimiter({ scripts, name: "bench-frames", ...frames });
      return { take: (key: string) => limiter.take(key) === 0 };
    },
  },
];

interface Figures {
  readonly fullest: number;
  readonly steady: number;
}

function figuresOf(grants: readonly number[], endedAtMs: number, { limit, windowMs }: Kind): Figures {
  const inOrder = [...grants].sort((a, b) => a - b);
  let [fullest, from] = [0, 0];
  for (const [i, atMs] of inOrder.entries()) {
    while ((inOrder[from] ?? 0) <= atMs - windowMs) from++;
    fullest = Math.max(fullest, i - from + 1);
  }
  const steady = grants.filter((atMs) => atMs > endedAtMs - STEADY_MS).length;
  return { fullest: fullest / limit, steady: (steady * windowMs) / STEADY_MS / limit };
}

const redis = await startRedis();
const proxy = await startFaultProxy({ targetPort: Number(new URL(redis.url).port) });
const logger = createLogger({ service: "bench", level: "silent" });
const links = await Promise.all(
  Array.from({ length: Math.max(...PROCESS_COUNTS) }, async (_, i) => {
    const url = `redis://127.0.0.1:${proxy.port}`;
    return connectRedis({ url, role: `limiter-${i}`, logger, commandTimeoutMs: 5_000 });
  }),
);
const runners = links.map((link) => new ScriptRunner(link));

async function measure(key: string, kind: Kind, processes: number, endsAtMs: number): Promise<Figures> {
  const limiters = runners.slice(0, processes).map((scripts) => kind.open(scripts));
  const grants: number[] = [];
  const perMs = (OFFERED * kind.limit) / kind.windowMs;
  let offered = 0;
  for (const fromMs = performance.now(); performance.now() < endsAtMs;) {
    for (; offered < (performance.now() - fromMs) * perMs; offered++) {
      for (const limiter of limiters) {
        const decision = limiter.take(key);
        if (decision === true) grants.push(performance.now());
        else if (decision !== false) {
          void decision.then((isAllowed) => isAllowed && grants.push(performance.now()));
        }
      }
    }
    await sleep(TICK_MS);
  }
  return figuresOf(grants, endsAtMs, kind);
}

process.stdout.write(
  "| round trip, ms | limiter | processes | fullest window | in the long run |\n|---|---|---|---|---|\n",
);
for (const roundTripMs of [...ROUND_TRIPS_MS, Number.POSITIVE_INFINITY]) {
  if (roundTripMs === Number.POSITIVE_INFINITY) proxy.stall();
  else proxy.slow({ latencyMs: roundTripMs / 2 });
  const endsAtMs = performance.now() + FOR_MS;
  const lines = await Promise.all(
    kinds.flatMap((kind) =>
      PROCESS_COUNTS.map(async (processes) => {
        const key = `${roundTripMs}-${processes}-${kind.name}`;
        const { fullest, steady } = await measure(key, kind, processes, endsAtMs);
        return `| ${roundTripMs} | ${kind.name} | ${processes} | ${fullest.toFixed(2)} | ${steady.toFixed(2)} |\n`;
      }),
    ),
  );
  process.stdout.write(lines.join(""));
}
for (const link of links) link.disconnect();
await proxy.stop();
await redis.stop();
process.exit(0);
