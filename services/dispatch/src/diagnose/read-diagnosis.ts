// routes/show-diagnosis -> here -> shared/redis, channels: facts about Redis, the partitions, the backlogs and the
// channels.
// Guarantees: changes nothing; answers within PATIENCE_MS and says what did not answer by then.
import { deadLetterCauses, type DeadLetterCause } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import { readServerFacts, type ServerFacts } from "@petrel/shared/redis/connection/read-server-facts";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import { clusterKeys, type PartitionKeys } from "@petrel/shared/redis/keys";
import { readDispatchers } from "@petrel/shared/redis/partitions/dispatcher-members";
import { readPartitionBacklog } from "@petrel/shared/redis/partitions/read-partition-backlog";
import type { ChannelProbe, FallbackChannel } from "../channels/fallback-channel.js";

export interface DiagnoseDeps {
  readonly redis: Redis;
  readonly partitions: readonly PartitionKeys[];
  readonly channels: readonly FallbackChannel[];
  readonly ackTimeoutMs: number;
  readonly wallMs: () => number;
}

export interface ChannelDiagnosis {
  readonly channel: string;
  /** Empty if the channel cannot be probed without reaching somebody. */
  readonly probes: readonly ChannelProbe[];
}

export interface Diagnosis {
  readonly redis: readonly ServerFacts[];
  /** The ids of all that are alive. */
  readonly dispatchers: readonly string[];
  readonly partitions: {
    readonly configured: number;
    /** The partition count that Redis's data was laid out for; undefined if there is no data. */
    readonly stored: number | undefined;
    /** Partitions whose owner's lease is valid. */
    readonly owned: number;
  };
  readonly backlog: {
    readonly ready: number;
    readonly readyOldestMs: number;
    readonly wakeLagMs: number;
    readonly scheduleLagMs: number;
    readonly lateUsers: number;
    readonly sampledUsers: number;
    readonly deadLetters: Readonly<Record<DeadLetterCause, number>>;
  };
  readonly ackTimeoutMs: number;
  readonly channels: readonly ChannelDiagnosis[];
}

/** Bounded, because a provider may be silent. */
const PATIENCE_MS = 10_000;

export async function readDiagnosis(deps: DiagnoseDeps): Promise<Diagnosis> {
  const { redis, partitions, channels, ackTimeoutMs, wallMs } = deps;
  const [servers, dispatchers, stored, owned, backlog, probed] = await Promise.all([
    readServerFacts(redis, wallMs),
    readDispatchers(redis),
    redis.get(clusterKeys.partitionCount),
    countOwned(redis, partitions),
    readBacklog(redis, partitions, ackTimeoutMs),
    Promise.all(
      channels.map(async (channel) => ({
        channel: channel.name,
        probes: (await channel.probe?.(AbortSignal.timeout(PATIENCE_MS))) ?? [],
      })),
    ),
  ]);
  return {
    redis: servers,
    dispatchers,
    partitions: {
      configured: partitions.length,
      stored: stored === null ? undefined : Number(stored),
      owned,
    },
    backlog,
    ackTimeoutMs,
    channels: probed,
  };
}

async function countOwned(redis: Redis, partitions: readonly PartitionKeys[]): Promise<number> {
  const owned = await Promise.all(
    partitions.map(async ({ owner }) => {
      const [until, nowMs] = await Promise.all([redis.hget(owner, "until"), readServerTimeMs(redis, owner)]);
      return Number(until ?? 0) > nowMs;
    }),
  );
  return owned.filter(Boolean).length;
}

async function readBacklog(
  redis: Redis,
  partitions: readonly PartitionKeys[],
  ackTimeoutMs: number,
): Promise<Diagnosis["backlog"]> {
  const all = await Promise.all(
    partitions.map((keys) => readPartitionBacklog(redis, keys, 3 * ackTimeoutMs)),
  );
  const deadLetters = await Promise.all(
    deadLetterCauses.map(async (cause) => {
      const lengths = await Promise.all(partitions.map((keys) => redis.xlen(keys.deadLetters(cause))));
      return [cause, lengths.reduce((sum, length) => sum + length, 0)] as const;
    }),
  );
  const sum = (of: (one: (typeof all)[number]) => number): number =>
    all.reduce((total, one) => total + of(one), 0);
  const most = (of: (one: (typeof all)[number]) => number): number => Math.max(0, ...all.map(of));
  return {
    ready: sum(({ ready }) => ready),
    readyOldestMs: most(({ readyOldestMs }) => readyOldestMs),
    wakeLagMs: most(({ wakeLagMs }) => wakeLagMs),
    scheduleLagMs: most(({ scheduleLagMs }) => scheduleLagMs),
    lateUsers: sum(({ lateUsers }) => lateUsers),
    sampledUsers: sum(({ sampledUsers }) => sampledUsers),
    deadLetters: Object.fromEntries(deadLetters) as Readonly<Record<DeadLetterCause, number>>,
  };
}
