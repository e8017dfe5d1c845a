// chaos: a cluster under load and random faults, and the checker's verdict on it.
// Guarantees: the seed decides the faults and the load; every fault is over, and everything settled, before the
// verdict; nothing is left running, whatever happens.
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Verdict } from "@petrel/shared/testing/checks/check-history";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { keepRunning } from "@petrel/shared/testing/faults/keep-running";
import { startRestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  beginFault,
  clientsOf,
  redisLinkOf,
  startRedisLinks,
  targetsOf,
  type BreakableCluster,
} from "./fault-targets.js";
import { offerLoad } from "./offer-load.js";
import { planFaults, type PlannedFault } from "./plan-faults.js";
import { startRecordedCluster, type RecordedCluster } from "./recorded-cluster.js";

export interface ChaosOptions {
  readonly seed: number;
  /** How long load and faults last; starting and settling come on top. */
  readonly durationMs: number;
  readonly userCount: number;
  readonly messagesPerSecond: number;
  /** What happens, line by line. */
  readonly print: (line: string) => void;
}

export interface ChaosResult {
  readonly verdict: Verdict;
  readonly plan: readonly PlannedFault[];
  /** Users whose client was told to stop, and why; no fault may do that. */
  readonly stoppedClients: readonly string[];
}

const ENVIRONMENT = {
  ACK_TIMEOUT_MS: "2000",
  LEASE_MS: "1500",
  NODE_TTL_MS: "2000",
  ROUTE_LEASE_MS: "6000",
  // A half-dead link shows by its pings.
  PING_SECONDS: "2",
  // A device that reads nothing for two seconds soon exceeds what is kept for it.
  OUTBOUND_BOUND_BYTES: "32768",
  INBOX_HISTORY: "20",
  INBOX_SLOW_HISTORY: "30",
} as const;
const FALLBACK_SHARE = 0.25;
const PROGRESS_EVERY_MS = 5_000;
/** A delay this much longer than planned gets a line: on a busy machine a start is slow. */
const TOLD_LATE_MS = 2_000;
const SETTLE_DEADLINE_MS = 90_000;

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { seed, durationMs, userCount, messagesPerSecond, print } = options;
  const random = seededRandom(seed);
  // Each server and process ends with this one, so each adds an exit listener.
  process.setMaxListeners(Math.max(process.getMaxListeners(), 200));
  const undo: (() => Promise<void>)[] = [];
  try {
    const redis = await startRestartableRedis();
    undo.push(redis.stop);
    const links = await startRedisLinks(redis.current().port);
    undo.push(() => stopAll(links));
    print("Redis writes its file before it answers (appendfsync no): a kill of it excuses no loss");
    if (redis.clock === undefined) {
      print("LEFT OUT: steps of Redis' clock; they need Linux and a C compiler (cc)");
    }
    const run = await startRecordedCluster({
      userCount,
      isMixed: true,
      nodes: 2,
      dispatchers: 2,
      collects: 2,
      redis: redis.current(),
      environment: ENVIRONMENT,
      environmentOf: (name): Record<string, string> => {
        const link = links.get(redisLinkOf(name));
        return link === undefined ? {} : { REDIS_URL: `redis://127.0.0.1:${link.port}` };
      },
      connectUrls: (cluster) => linkClients(cluster, links),
    });
    undo.push(run.stop);
    const keeper = keepRunning(run.cluster);
    undo.push(keeper.stop);

    // If one of them fails, the others need not go on.
    const stopping = new AbortController();
    // Every fault waits for its time on it.
    setMaxListeners(0, stopping.signal);
    undo.push(async () => stopping.abort());
    const { signal } = stopping;
    const parts = { run, keeper, redis, links, signal };
    await run.producer.warmUp();

    const plan = planFaults({ random, targets: targetsOf(parts), totalMs: durationMs });
    print(`seed ${seed}: ${plan.length} faults planned for ${Math.round(durationMs / 1_000)} s`);
    const stopProgress = printProgress(run, print);
    undo.push(async () => stopProgress());
    const [leftOut] = await Promise.all([
      offerLoad({
        producer: run.producer,
        random: seededRandom(seed + 1),
        users: run.userNames,
        awayUsers: run.awayUsers,
        topics: run.topics,
        messagesPerSecond,
        durationMs,
        fallbackShare: FALLBACK_SHARE,
        signal,
      }),
      applyFaults(plan, parts, print),
    ]);
    if (leftOut > 0) print(`${leftOut} messages were not sent: too many waited for an answer`);
    print("faults are over: waiting for everything to end");
    const verdict = await run.judge(SETTLE_DEADLINE_MS);
    return { verdict, plan, stoppedClients: run.users.stopped() };
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

async function linkClients(cluster: TestCluster, links: Map<string, FaultProxy>): Promise<string[]> {
  const urls: string[] = [];
  for (const { name, port } of cluster.nodes) {
    const link = await startFaultProxy({ targetPort: port });
    links.set(clientsOf(name), link);
    urls.push(`ws://127.0.0.1:${link.port}/v1/connect`);
  }
  return urls;
}

async function applyFaults(
  plan: readonly PlannedFault[],
  parts: BreakableCluster,
  print: (line: string) => void,
): Promise<void> {
  const { signal } = parts;
  const { recorder } = parts.run;
  const startMs = performance.now();
  /** If a busy machine makes a fault take longer than planned, the next one at its target waits. */
  const endOf = new Map<string, Promise<void>>();
  const inTurn = (fault: PlannedFault): Promise<void> => {
    const before = endOf.get(fault.target) ?? Promise.resolve();
    const end = before.then(() => apply(fault));
    endOf.set(fault.target, end);
    return end;
  };
  const apply = async (fault: PlannedFault): Promise<void> => {
    const { kind, target, atMs, durationMs, shiftMs } = fault;
    await sleep(Math.max(0, startMs + atMs - performance.now()), undefined, { signal });
    const how = shiftMs === undefined ? seconds(durationMs) : `${seconds(shiftMs)} off`;
    print(`${seconds(performance.now() - startMs)} ${kind} ${target} (${how})`);
    const over = recorder.faultBegan(kind, target);
    const heal = await beginFault(parts, fault);
    await sleep(durationMs, undefined, { signal });
    const dueMs = performance.now();
    await heal();
    over();
    const lateMs = performance.now() - dueMs;
    if (lateMs > TOLD_LATE_MS) print(`  ${kind} ${target}: over ${seconds(lateMs)} later`);
  };
  await Promise.all(plan.map(inTurn));
}

/** @returns stops it */
function printProgress(
  { recorder, producer, users }: RecordedCluster,
  print: (line: string) => void,
): () => void {
  const startMs = performance.now();
  const timer = setInterval(() => {
    const accepted = recorder.posts.filter(({ outcome }) => outcome === "accepted");
    const open = accepted.filter(({ n }) => !recorder.handledNumbers.has(n)).length;
    print(
      `${seconds(performance.now() - startMs)} accepted ${accepted.length} (${producer.waiting} under way), ` +
        `handled ${recorder.handledNumbers.size}, open ${open}, fallbacks ${recorder.fallbacks.length}, ` +
        `online ${users.countOnline()}`,
    );
  }, PROGRESS_EVERY_MS);
  return () => clearInterval(timer);
}

async function stopAll(links: ReadonlyMap<string, FaultProxy>): Promise<void> {
  await Promise.all([...links.values()].map((link) => link.stop()));
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
