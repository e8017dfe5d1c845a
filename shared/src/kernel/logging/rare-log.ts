// Code that refuses what a client could send endlessly -> here -> the log.
// Guarantees: at most one line per interval, with a count of what happened.
import { type Clock, systemClock } from "../clock.js";
import type { Logger } from "./logging.js";

export interface RareLog {
  /** @param message a fixed text for each kind */
  warn(message: string): void;
}

const DEFAULT_INTERVAL_MS = 60_000;

/** There are few kinds; the bound is a guard in case somebody puts a user id into a message. */
const MAX_KINDS = 100;

/** Counts each message separately. */
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
