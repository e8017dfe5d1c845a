// wake/offer.lua, wake/wake.lua, accept/accept.lua -> here -> dispatch/fallback-workers: messages for a fallback
// channel.
// Guarantees: an entry belongs to one worker at a time, and passes to another once its worker has held it too long. It
// leaves the queue only when it is settled, see settle-fallback.
import {
  decodeFallbackEntry,
  FALLBACK_FIELDS,
  type FallbackEntry,
} from "../../protocol/fallback/fallback-entry.js";
import { priorities, type Priority } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { fieldOf } from "../streams/stream-entry.js";

/** The consumer group of every fallback stream. */
export const FALLBACK_GROUP = "workers";

/**
 * One of a partition's streams: three for each channel, and three in the common queue of messages without a channel
 * yet.
 */
export interface FallbackSource {
  readonly keys: PartitionKeys;
  readonly priority: Priority;
  readonly channel?: string | undefined;
}

/** An entry that this worker holds until it settles it. */
export interface TakenEntry extends FallbackSource {
  /** The stream's id, `ms-n`. */
  readonly entryId: string;
  readonly message: FallbackEntry;
  /** Earlier attempts, including one by a worker that died while it held the entry. */
  readonly attempts: number;
  /** How often a worker took it and did not settle it. */
  readonly abandoned: number;
}

/** The entries of a partition's streams that no worker has read. */
export interface PolledPartition {
  readonly nowMs: number;
  /** Due retries that were moved back to their streams. */
  readonly promoted: number;
  /** Entries that wait for another attempt. */
  readonly retries: number;
  readonly waiting: Readonly<Record<Priority, number>>;
}

/**
 * @param limit how many retries this call moves at most
 * @param channel whose queue; absent: the common queue
 */
export async function promoteRetries(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  limit: number,
  channel?: string,
): Promise<PolledPartition> {
  const answer = await scripts.run(
    "promote-retries.v2",
    [keys.retriesOf(channel), ...priorities.map((priority) => keys.fallback(priority, channel))],
    [FALLBACK_GROUP, limit],
  );
  const [nowMs = 0, promoted = 0, high = 0, normal = 0, low = 0, retries = 0] = answer
    .split("\t")
    .map(Number);
  return { nowMs, promoted, retries, waiting: { high, normal, low } };
}

/**
 * The oldest unread entries; never blocks. If the consumer group does not exist (any more), creates it, starting at the
 * oldest entry.
 * @param consumer identifies this process; a restarted one has another name
 * @throws what ioredis throws if the answer is missing: some entries may be ours without our knowing, and are claimed
 * later like a dead worker's
 */
export async function readFallback(
  scripts: ScriptRunner,
  source: FallbackSource,
  consumer: string,
  count: number,
): Promise<TakenEntry[]> {
  const stream = streamOf(source);
  const read = async (): Promise<TakenEntry[]> => {
    const streams = (await scripts.redis.xreadgroup(
      "GROUP",
      FALLBACK_GROUP,
      consumer,
      "COUNT",
      count,
      "STREAMS",
      stream,
      ">",
    )) as [string, RawTaken[]][] | null;
    return (streams?.[0]?.[1] ?? []).flatMap((raw) => taken(source, raw, 0));
  };
  try {
    return await read();
  } catch (error) {
    if (!isNoGroup(error)) throw error;
  }
  await scripts.run("open-fallback.v1", [stream], [FALLBACK_GROUP]);
  return read();
}

/**
 * Claims entries that others have held for too long.
 * @param isHeldHere recognises this process's own entries, which are in progress and need no claim
 * @param idleMs how long they must have been held
 */
export async function claimFallback(
  redis: Redis,
  source: FallbackSource,
  consumer: string,
  { idleMs, count, isHeldHere }: ClaimOptions,
): Promise<TakenEntry[]> {
  const stream = streamOf(source);
  let pending: [string, string, number, number][];
  try {
    pending = (await redis.xpending(
      stream,
      FALLBACK_GROUP,
      "IDLE",
      idleMs,
      "-",
      "+",
      count,
    )) as typeof pending;
  } catch (error) {
    if (isNoGroup(error)) return [];
    throw error;
  }
  const deliveries = new Map(
    pending.filter(([id]) => !isHeldHere(stream, id)).map(([id, , , times]) => [id, times]),
  );
  if (deliveries.size === 0) return [];
  // Redis checks the time again: of several that claim the same entry, one gets it.
  const entries = (await redis.call(
    "XCLAIM",
    stream,
    FALLBACK_GROUP,
    consumer,
    idleMs,
    ...deliveries.keys(),
  )) as RawTaken[];
  return entries.flatMap((raw) => taken(source, raw, deliveries.get(raw?.[0] ?? "") ?? 1));
}

export interface ClaimOptions {
  readonly idleMs: number;
  readonly count: number;
  readonly isHeldHere: (stream: string, entryId: string) => boolean;
}

/** Lets the next worker that looks for abandoned entries take this one at once, as if we had never had it. */
export async function giveBackFallback(
  scripts: ScriptRunner,
  entry: TakenEntry,
  consumer: string,
  idleMs: number,
): Promise<void> {
  await scripts.run(
    "give-back-fallback.v1",
    [streamOf(entry)],
    [FALLBACK_GROUP, entry.entryId, consumer, idleMs, entry.abandoned],
  );
}

/**
 * Removes workers that hold nothing.
 * @param only removes this one only, if given
 */
export async function forgetWorkers(
  scripts: ScriptRunner,
  source: FallbackSource,
  idleMs: number,
  only = "",
): Promise<number> {
  return Number(await scripts.run("forget-workers.v1", [streamOf(source)], [FALLBACK_GROUP, idleMs, only]));
}

/** The name of its stream. */
export function streamOf({ keys, priority, channel }: FallbackSource): string {
  return keys.fallback(priority, channel);
}

export interface FallbackBacklog {
  /** Entries in the streams, including those under way. */
  readonly queued: Readonly<Record<Priority, number>>;
  readonly retries: number;
  /** When the oldest entry of all streams arrived, ms by Redis's clock. */
  readonly oldestAtMs: number | undefined;
}

/** @param channel whose queue; absent: the common queue */
export async function readFallbackBacklog(
  redis: Redis,
  keys: PartitionKeys,
  channel?: string,
): Promise<FallbackBacklog> {
  const streams = priorities.map((priority) => keys.fallback(priority, channel));
  const [retries, lengths, oldest] = await Promise.all([
    redis.zcard(keys.retriesOf(channel)),
    Promise.all(streams.map((stream) => redis.xlen(stream))),
    Promise.all(streams.map((stream) => redis.xrange(stream, "-", "+", "COUNT", 1))),
  ]);
  const [high = 0, normal = 0, low = 0] = lengths;
  const ages = oldest.flatMap(([first]) => (first === undefined ? [] : [Number.parseInt(first[0], 10)]));
  return {
    queued: { high, normal, low },
    retries,
    oldestAtMs: ages.length === 0 ? undefined : Math.min(...ages),
  };
}

/** Some versions answer null for an entry that was deleted while it was pending. */
type RawTaken = [id: string, fields: string[] | null] | null;

function taken(source: FallbackSource, raw: RawTaken, abandoned: number): TakenEntry[] {
  const [entryId, fields] = raw ?? [];
  if (entryId === undefined || fields === null || fields === undefined) return [];
  const before = Number(fieldOf(fields, FALLBACK_FIELDS.attempts));
  return [
    {
      ...source,
      entryId,
      message: decodeFallbackEntry(fieldOf(fields, FALLBACK_FIELDS.entry)),
      attempts: (Number.isSafeInteger(before) && before >= 0 ? before : 0) + abandoned,
      abandoned,
    },
  ];
}

function isNoGroup(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOGROUP");
}
