// accept/accept.lua -> here -> dispatch/read-ready: the messages of a partition that are not handed over yet.
// Guarantees: oldest first; only the fenced trim removes an entry.
import { decodeReadyMessage, type ReadyMessage } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface ReadyEntry {
  /** The stream's id, `ms-n`. */
  readonly id: string;
  readonly message: ReadyMessage;
  /** UTF-16 code units of the stored text. */
  readonly size: number;
}

export interface ReadReadyOptions {
  /** Entries of each partition. */
  readonly maxEntries: number;
  /** How long to wait where there is nothing; at least 1. */
  readonly blockMs: number;
}

/**
 * The oldest entries of several partitions of one server; waits for one where there is none. On a cluster: poll-ready.
 *
 * Reads from the start each time, not from where the last call ended. What was handed over has been trimmed, so the
 * stream itself says where to go on, whatever failed in between. A Redis with ids that went back is read all the same.
 * @param blocking a connection for this alone, without a deadline for commands
 * @returns key of `ready` -> entries; without the partitions that have none
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
 * Ends a `readReady` that waits on another connection, as if its time were up.
 * @param blockingClientId from `readClientId`
 */
export async function interruptRead(commands: Redis, blockingClientId: number): Promise<void> {
  await commands.client("UNBLOCK", blockingClientId, "TIMEOUT");
}

/** The number by which Redis knows a connection; each reconnect gets a new one. */
export async function readClientId(redis: Redis): Promise<number> {
  return redis.client("ID");
}

/**
 * Removes what was handed over.
 * @param lastId the last entry to remove
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
