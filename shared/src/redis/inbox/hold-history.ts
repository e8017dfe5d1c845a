// push-node/catch-up -> here -> inbox/hold-history.lua: asks to keep what a connection that is behind still needs.
// Guarantees: what the user's other devices acknowledge is kept for it, within a bound, for a minute from each request.
// A connection that falls further behind is told when it reads, see read-inbox.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** As many as a user may have unacknowledged by default. */
export const DEFAULT_SLOW_HISTORY = 10_000;

/** How many acknowledged messages stay readable. */
export interface InboxHistory {
  /** Kept for any device of the user. */
  readonly history: number;
  /** The most kept for a device that is behind. */
  readonly slowHistory: number;
}

export interface SlowReader {
  readonly userId: string;
  readonly connection: string;
  readonly epoch: string;
  /** The last message that was sent to it; undefined once it is up to date again. */
  readonly lastSent: number | undefined;
}

export async function holdHistory(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { userId, connection, epoch, lastSent }: SlowReader,
  { history, slowHistory }: InboxHistory,
): Promise<void> {
  await scripts.run(
    "hold-history.v1",
    [keys.user(userId), keys.inbox(userId)],
    [connection, epoch, lastSent ?? "", history, slowHistory],
  );
}
