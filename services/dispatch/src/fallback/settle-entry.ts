// fall-back, pass-on -> here -> fallback/settle-fallback: records and counts the outcome of an attempt.
// Guarantees: repeats until Redis answers, because a message that was sent but not settled would be sent again.
import { traceIdOf } from "@petrel/shared/kernel/tracing/tracing";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { skipStates } from "@petrel/shared/protocol/fallback/fallback-skip";
import { type Settlement, settleFallback } from "@petrel/shared/redis/fallback/settle-fallback";
import type { DropReason } from "./fallback-metrics.js";
import type { FallBackOptions, HeldEntry, FallBackResult } from "./held-entry.js";
import { askUntil } from "./ask-until.js";

/** The result of an attempt besides its outcome. */
export interface Done {
  /** Attempts so far, including this one. */
  readonly attempt: number;
  readonly notes?: readonly AttemptNote[];
  /** Under which name the send was noted. */
  readonly sendName?: string;
}

export async function drop(
  options: FallBackOptions,
  held: HeldEntry,
  reason: DropReason,
  done: Done,
): Promise<FallBackResult> {
  const state = skipStates.find((word) => word === reason);
  const settlement: Settlement =
    state === undefined
      ? { outcome: "dropped" }
      : { outcome: "unneeded", skip: { state, channel: options.channel } };
  const result = await settle(options, held, settlement, done);
  if (result === "settled") options.metrics.dropped(reason);
  return result;
}

/** Repeats until Redis answers, because a message that was sent but not settled would be sent again. */
export async function settle(
  { scripts, metrics, logger, deadLettersCap }: FallBackOptions,
  { entry, signal, span }: HeldEntry,
  settlement: Settlement,
  { attempt: attempts, notes = [], sendName }: Done,
): Promise<FallBackResult> {
  const settled = await askUntil(
    () => settleFallback(scripts, entry, settlement, { attempts, notes, deadLettersCap, sendName }),
    () => !signal.aborted,
  );
  span?.set({ "petrel.outcome": settlement.outcome });
  if (settlement.outcome === "taken" || settlement.outcome === "passed")
    span?.set({ "petrel.channel": settlement.channel });
  if (settlement.outcome === "failed") span?.fail(`${settlement.cause}: ${settlement.reason}`);
  if (settled === undefined) return "left";
  const { outcome, evicted } = settled.answer;
  if (settlement.outcome === "failed" && outcome === "settled") {
    const { cause, reason } = settlement;
    metrics.deadLetter(cause, evicted);
    const { id, trace } = entry.message;
    logger.warn(
      { messageId: id, ...traceIdOf(trace), cause, reason, attempts },
      "fallback failed: stored as a dead letter",
    );
  }
  return "settled";
}
