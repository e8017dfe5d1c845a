// accept/accept.lua -> here -> dispatch/read-ready: the messages of a partition that are not handed over yet.
// Guarantees: oldest first; an entry leaves only by the fenced trim.
import { decodeReadyMessage, type ReadyMessage } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface ReadyEntry {
  /** The stream's id, `ms-n`. */
  readonly id: string;
  readonly message: ReadyMessage;
  /** UTF-16 code units of what is stored. */
  readonly size: number;
}

export interface ReadReadyOptions {
  /** Entries of each partition. */
  readonly maxEntries: number;
  /** How long to wait where there is nothing; at least 1. */
  readonly blockMs: number;
}

/**
 * The oldest entries of several partitions of one server, waiting for one where there is none. On a cluster: poll-ready.
 *
 * Always from the start, not from where the last call ended: what was handed over has been trimmed, so the stream
 * itself says where to go on, whatever failed in between, and a Redis whose ids have gone back is read all the same.
 * @param blocking a connection for this alone, without a deadline for commands
 * @returns key of `ready` -> entries; partitions without any are missing
 */
export async function readReady(
  blocking: Redis,
  partitions: readonly PartitionKeys[],
  options: ReadReadyOptions,
): Promise<ReadonlyMap<string, readonly ReadyEntry[]>> {
  const { maxEntries, blockMs } = options;
  return decodeStreams(
    await blocking.xread(
      "COUNT",
      maxEntries,
      "BLOCK",
      Math.max(1, Math.ceil(blockMs)),
      "STREAMS",
      ...partitions.map(({ ready }) => ready),
      ...partitions.map(() => "0-0"),
    ),
  );
}

export function decodeStreams(
  streams: readonly [key: string, entries: readonly [id: string, fields: readonly string[]][]][] | null,
): ReadonlyMap<string, readonly ReadyEntry[]> {
  return new Map(
    (streams ?? []).map(([key, entries]) => [
      key,
      entries.map(([id, fields]) => {
        const text = fields[1] ?? "";
        return { id, size: text.length, message: decodeReadyMessage(text) };
      }),
    ]),
  );
}

/**
 * Ends a `readReady` that waits on another connection, as if its time were over.
 * @param blockingClientId from `readClientId`
 */
export async function interruptRead(commands: Redis, blockingClientId: number): Promise<void> {
  await commands.client("UNBLOCK", blockingClientId, "TIMEOUT");
}

/** The number by which Redis knows a connection; a new one after each reconnect. */
export async function readClientId(redis: Redis): Promise<number> {
  return redis.client("ID");
}

/**
 * Removes what was handed over.
 * @param lastId up to and including
 * @returns how many were removed, or "stale" where the token is not the owner's any more (nothing was changed)
 */
export async function trimReady(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  lastId: string,
): Promise<number | "stale"> {
  const answer = await scripts.run("trim-ready.v1", [keys.owner, keys.ready], [token, lastId]);
  return answer === "stale" ? answer : Number(answer);
}

/** How many messages wait in each of these partitions, in order. */
export async function readReadyLengths(
  redis: Redis,
  partitions: readonly PartitionKeys[],
): Promise<number[]> {
  return Promise.all(partitions.map(({ ready }) => redis.xlen(ready)));
}
