// fallback-chain, fall-back -> here: what a dispatcher measures of the fallback.
// Guarantees: counters only grow. Values from Redis are read at the scrape, and cover the whole cluster, whichever
// dispatcher is asked.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { type DeadLetterCause, deadLetterCauses } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import { type AttemptOutcome, attemptOutcomes } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import { priorities } from "@petrel/shared/protocol/messages/stored-message";
import type { FallbackBacklog } from "@petrel/shared/redis/fallback/fallback-queue";

/** Why an entry was not sent: its message's state, or the obstacle. */
export const dropReasons = [
  "delivered",
  "expired",
  "cancelled",
  "pushed",
  "failed",
  "forgotten",
  "unreachable",
  "superseded",
  "malformed",
] as const;
export type DropReason = (typeof dropReasons)[number];

export interface FallbackMetrics {
  readonly sent: (channel: string, outcome: AttemptOutcome) => void;
  readonly dropped: (reason: DropReason) => void;
  readonly claimed: (count: number) => void;
  readonly deadLetter: (cause: DeadLetterCause, evicted: number) => void;
}

export interface FallbackGauges {
  /** For every partition. @param channel the queue of this channel; absent: the common queue */
  readonly readBacklogs: (channel?: string) => Promise<readonly FallbackBacklog[]>;
  /** The configured ones. */
  readonly channels: readonly string[];
  /** How many messages this process is sending by a channel; absent if it sends none. */
  readonly sendingBy: ((channel: string) => number) | undefined;
  /** Whether an operator has paused it. */
  readonly isPaused: (channel: string) => boolean;
  /** The most entries that a stream may have. */
  readonly fallbackCap: number;
  readonly countDeadLetters: () => Promise<ReadonlyMap<DeadLetterCause, number>>;
  /** ms since 1970. */
  readonly nowMs: () => number;
}

/** @param channels names of the configured ones */
export function createFallbackMetrics(registry: Registry, channels: readonly string[]): FallbackMetrics {
  const registers = [registry];
  const sends = new Counter({
    name: "petrel_fallback_sends_total",
    help: "Attempts to reach a user through a fallback channel, by the channel's answer",
    labelNames: ["channel", "outcome"],
    registers,
  });
  const drops = new Counter({
    name: "petrel_fallback_dropped_total",
    help: "Fallback entries that were not sent, by reason",
    labelNames: ["reason"],
    registers,
  });
  const claims = new Counter({
    name: "petrel_fallback_claimed_total",
    help: "Fallback entries taken over from workers that did not settle them in time",
    registers,
  });
  const failures = new Counter({
    name: "petrel_fallback_failed_total",
    help: "Messages whose fallback failed for good, by cause: each is a dead letter",
    labelNames: ["cause"],
    registers,
  });
  const evictions = new Counter({
    name: "petrel_fallback_dead_letters_evicted_total",
    help: "Dead letters evicted because there were too many, by cause",
    labelNames: ["cause"],
    registers,
  });
  for (const channel of channels) {
    for (const outcome of attemptOutcomes) sends.inc({ channel, outcome }, 0);
  }
  for (const reason of dropReasons) drops.inc({ reason }, 0);
  for (const cause of deadLetterCauses) {
    failures.inc({ cause }, 0);
    evictions.inc({ cause }, 0);
  }
  return {
    sent: (channel, outcome) => sends.inc({ channel, outcome }),
    dropped: (reason) => drops.inc({ reason }),
    claimed: (count) => claims.inc(count),
    deadLetter: (cause, evicted) => {
      failures.inc({ cause });
      if (evicted > 0) evictions.inc({ cause }, evicted);
    },
  };
}

export function addFallbackGauges(
  registry: Registry,
  { readBacklogs, channels, sendingBy, isPaused, fallbackCap, countDeadLetters, nowMs }: FallbackGauges,
): void {
  const askByQueue = shareUnderWay(() =>
    Promise.all(
      [undefined, ...fallbackChannels].map(
        async (channel) => [channel, await readBacklogs(channel)] as const,
      ),
    ),
  );
  const ask = async (): Promise<FallbackBacklog[] | undefined> =>
    (await askByQueue())?.flatMap(([, backlogs]) => backlogs);
  /** A single channel serves the common queue. A process without channels does not know whose queue that is. */
  const isHeldBack = (channel: string | undefined): boolean => {
    if (channel !== undefined) return isPaused(channel);
    return channels.length <= 1 && (channels.length === 0 ? fallbackChannels : channels).some(isPaused);
  };
  const waiting = new Gauge({
    name: "petrel_fallback_waiting",
    help: "Messages in a fallback channel's queue, including those being sent and those waiting for a retry; with a single channel they are in the common queue",
    labelNames: ["channel"],
    registers: [],
    async collect() {
      const all = await askByQueue();
      this.reset();
      for (const [channel, backlogs] of all ?? []) {
        if (channel !== undefined)
          this.set(
            { channel },
            backlogs.reduce((sum, one) => sum + sizeOf(one), 0),
          );
      }
    },
  });
  const sending = new Gauge({
    name: "petrel_fallback_sending",
    help: "Messages this dispatcher is sending through a fallback channel, at most FALLBACK_CONCURRENCY",
    labelNames: ["channel"],
    registers: [],
    collect() {
      for (const channel of channels) this.set({ channel }, sendingBy?.(channel) ?? 0);
    },
  });
  const queued = new Gauge({
    name: "petrel_fallback_queued",
    help: "Messages in the fallback streams, including those being sent, by priority",
    labelNames: ["priority"],
    registers: [],
    async collect() {
      const all = await ask();
      this.reset();
      if (all === undefined) return;
      for (const priority of priorities) {
        this.set(
          { priority },
          all.reduce((sum, one) => sum + one.queued[priority], 0),
        );
      }
    },
  });
  const full = new Gauge({
    name: "petrel_fallback_full_streams",
    help: "Fallback streams that are full, by priority: offered messages wait, and messages that would go there at once are refused",
    labelNames: ["priority"],
    registers: [],
    async collect() {
      // New messages enter the common queue; the channels' own queues are fed from there.
      const all = (await askByQueue())?.find(([channel]) => channel === undefined)?.[1];
      this.reset();
      for (const priority of all === undefined ? [] : priorities) {
        this.set({ priority }, all?.filter(({ queued }) => queued[priority] >= fallbackCap).length ?? 0);
      }
    },
  });
  const retries = new Gauge({
    name: "petrel_fallback_retries_waiting",
    help: "Messages waiting for a retry",
    registers: [],
    async collect() {
      const all = await ask();
      if (all === undefined) this.remove();
      else this.set(all.reduce((sum, one) => sum + one.retries, 0));
    },
  });
  const oldest = new Gauge({
    name: "petrel_fallback_oldest_seconds",
    help: "Age of the oldest entry in the fallback streams, not counting paused channels; 0 if there is none",
    registers: [],
    async collect() {
      const all = (await askByQueue())?.flatMap(([channel, backlogs]) =>
        isHeldBack(channel) ? [] : backlogs,
      );
      if (all === undefined) return this.remove();
      const ages = all.flatMap(({ oldestAtMs }) => (oldestAtMs === undefined ? [] : nowMs() - oldestAtMs));
      this.set(Math.max(0, ...ages) / 1000);
    },
  });
  const letters = new Gauge({
    name: "petrel_fallback_dead_letters",
    help: "Dead letters kept, by cause",
    labelNames: ["cause"],
    registers: [],
    async collect() {
      const counts = await countDeadLetters().catch(() => undefined);
      this.reset();
      for (const [cause, count] of counts ?? []) this.set({ cause }, count);
    },
  });
  for (const gauge of [waiting, sending, queued, full, retries, oldest, letters])
    registry.registerMetric(gauge);
}

function sizeOf({ queued, retries }: FallbackBacklog): number {
  return priorities.reduce((sum, priority) => sum + queued[priority], retries);
}

/**
 * One query for all gauges of a scrape. Undefined without an answer, because the other metrics are still worth reading.
 */
function shareUnderWay<T>(ask: () => Promise<T>): () => Promise<T | undefined> {
  let underWay: Promise<T | undefined> | undefined;
  return () => {
    underWay ??= ask()
      .catch(() => undefined)
      .finally(() => {
        underWay = undefined;
      });
    return underWay;
  };
}
