// Whoever refuses what a client could send without end -> here -> the log.
// Guarantees: at most one line in an interval, however often something happens; it says how often that was.
import { type Clock, systemClock } from "../clock.js";
import type { Logger } from "./logging.js";

export interface RareLog {
  /** @param message the same for everything of a kind */
  warn(message: string): void;
}

const DEFAULT_INTERVAL_MS = 10_000;

/** There are few; whoever writes a user's id into a message does not fill the memory with it. */
const MAX_KINDS = 100;

/** Counts every message by itself. */
export function createRareLog(
  logger: Pick<Logger, "warn">,
  intervalMs: number = DEFAULT_INTERVAL_MS,
  clock: Clock = systemClock,
): RareLog {
  const said = new Map<string, { atMs: number; unsaid: number }>();
  return {
    warn: (message) => {
      const nowMs = clock.monotonicMs();
      const last = said.get(message);
      if (last !== undefined && nowMs - last.atMs < intervalMs) {
        last.unsaid++;
        return;
      }
      if (said.size >= MAX_KINDS) said.clear();
      said.set(message, { atMs: nowMs, unsaid: 0 });
      logger.warn({ times: 1 + (last?.unsaid ?? 0) }, message);
    },
  };
}
