// dispatch/settle-entry -> here -> fallback/settle-fallback.lua: records the outcome of an attempt.
// Guarantees: one step; of several workers that tried the same entry, the first settles it.
import type { DeadLetterCause } from "../../protocol/fallback/dead-letter-causes.js";
import { encodeAttempt, shortenReason, type AttemptNote } from "../../protocol/fallback/fallback-attempt.js";
import { encodeSkip, type SkipNote } from "../../protocol/fallback/fallback-skip.js";
import { encodeFailure, type FallbackFailure } from "../../protocol/fallback/fallback-entry.js";
import { FALLBACK_GROUP, streamOf, type TakenEntry } from "./fallback-queue.js";
import { eventKeys } from "../scripts/event-writing.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export type Settlement =
  /** A channel accepted it. */
  | { readonly outcome: "taken"; readonly channel: string }
  /** Nothing was sent: nobody can be reached, or the message has an end that says everything. */
  | { readonly outcome: "dropped" }
  /** Nothing was sent because the message had ended; recorded to explain why there was no push. */
  | { readonly outcome: "unneeded"; readonly skip: SkipNote }
  | { readonly outcome: "retry"; readonly delayMs: number }
  /** This channel is asked next. */
  | {
      readonly outcome: "passed";
      readonly channel: string;
      /** Why an earlier channel failed, if one did. */
      readonly failure: FallbackFailure | undefined;
    }
  | { readonly outcome: "failed"; readonly cause: DeadLetterCause; readonly reason: string };

export interface Settled {
  /**
   * `ended`: the fallback failed, but the message had ended otherwise before, so there is no dead letter · `gone`:
   * another worker has settled it.
   */
  readonly outcome: "settled" | "ended" | "gone";
  /** How many of the oldest dead letters were removed to make room for this one. */
  readonly evicted: number;
}

/** How many of a message's attempts are kept; the last ones stay. */
const ATTEMPTS_KEPT = 50;

/**
 * @param attempts so far, including this one
 * @param notes what was tried, oldest first
 */
export async function settleFallback(
  scripts: ScriptRunner,
  entry: TakenEntry,
  settlement: Settlement,
  { attempts, notes, deadLettersCap, sendName = "" }: SettleOptions,
): Promise<Settled> {
  const { keys, priority, entryId, message } = entry;
  const { id, userId, seq, epoch } = message;
  const { outcome } = settlement;
  const cause = outcome === "failed" ? settlement.cause : "rejected";
  const answer = await scripts.run(
    "settle-fallback.v5",
    [
      streamOf(entry),
      keys.retriesOf(entry.channel),
      keys.deadLetters(cause),
      keys.record(id),
      keys.user(userId),
      keys.attempts(id),
      keys.sending(id),
      keys.collapsed(userId),
      keys.inbox(userId),
      keys.deviceSends(id),
      outcome === "passed" ? keys.fallback(priority, settlement.channel) : keys.retriesOf(entry.channel),
      ...eventKeys(keys),
    ],
    [
      FALLBACK_GROUP,
      entryId,
      outcome,
      outcome === "taken" ? settlement.channel : outcome === "failed" ? cause : "",
      attempts,
      outcome === "retry" ? Math.round(settlement.delayMs) : 0,
      outcome === "failed" ? shortenReason(settlement.reason) : "",
      deadLettersCap,
      ATTEMPTS_KEPT,
      seq,
      epoch,
      sendName,
      outcome === "passed" ? encodeFailure(settlement.failure) : "",
      scripts.events.argument("message.pushed", "message.failed", "message.expired"),
      ...notes.map(encodeAttempt),
      ...(outcome === "unneeded" ? [encodeSkip(settlement.skip)] : []),
    ],
  );
  const [word, evicted = "0"] = answer.split("\t");
  if (word === "collapsed") {
    scripts.ends.count("expired", 1);
    return { outcome: "settled", evicted: 0 };
  }
  if (word !== "settled" && word !== "ended" && word !== "gone") {
    throw new Error(`settle-fallback answered ${JSON.stringify(answer)}`);
  }
  if (word === "settled" && outcome === "taken") scripts.ends.count("pushed", 1);
  if (word === "settled" && outcome === "failed") scripts.ends.count("failed", 1);
  return { outcome: word, evicted: Number(evicted) };
}

export interface SettleOptions {
  readonly attempts: number;
  readonly notes: readonly AttemptNote[];
  /** Dead letters kept per partition and cause. */
  readonly deadLettersCap: number;
  /** The name of the send that this settles, see recall/begin-send; absent if nothing was sent. */
  readonly sendName?: string | undefined;
}
