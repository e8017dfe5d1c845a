// accept/accept.lua -> here -> dispatch/read-ready: the messages of a partition that are not handed over yet.
// Guarantees: oldest first; only the fenced trim removes an entry.
import { decodeReadyMessage, type ReadyMessage } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface ReadyEntry {
  /** The entry's id in the stream, `ms-n`. */
  readonly id: string;
  readonly message: ReadyMessage;
  /** Length of the stored text in UTF-16 code units. */
  readonly size: number;
}

export interface ReadReadyOptions {
  /** The most entries per partition. */
  readonly maxEntries: number;
  /** How long to wait if there are none; at least 1. */
  readonly blockMs: number;
}

/**
 * The oldest entries of several partitions on one server; waits for one if there are none. On a cluster: poll-ready.
 * Always reads from the start rather than from where the last call ended. Whatever was handed over has been trimmed, so
 * the stream itself says where to continue, no matter what failed in between, and even if Redis has lost entries.
 * @param blocking a connection for this alone, without a deadline for commands
 * @returns key of `ready` -> entries; without the partitions that are empty
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
 * Ends a `readReady` that waits on another connection, as if it had timed out.
 * @param blockingClientId from `readClientId`
 */
export async function interruptRead(commands: Redis, blockingClientId: number): Promise<void> {
  await commands.client("UNBLOCK", blockingClientId, "TIMEOUT");
}

/** The connection's client id in Redis; each reconnect gets a new one. */
export async function readClientId(redis: Redis): Promise<number> {
  return redis.client("ID");
}

/**
 * Removes what was handed over.
 * @param lastId the last entry to remove
 * @returns how many were removed, or "stale" if the token is no longer the owner's (nothing was changed)
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

/** How many messages wait in each of these partitions, in the order given. */
export async function readReadyLengths(
  redis: Redis,
  partitions: readonly PartitionKeys[],
): Promise<number[]> {
  return Promise.all(partitions.map(({ ready }) => redis.xlen(ready)));
}
