// fallback/ask-channel -> here: the port of a way to reach a user who has no connection.
// Guarantees: the comments here say what a channel may rely on and what it owes; testing/channel-conformance holds every
// implementation to them.
import type { DeadLetterCause } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import type { Device } from "@petrel/shared/protocol/fallback/device";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";

/** A message on its way out. */
export interface FallbackJob {
  /** The message's id: the same at every attempt, and what the far side recognises a repetition by. */
  readonly id: string;
  readonly userId: string;
  readonly seq: number;
  readonly epoch: string;
  /** ms since 1970 by Redis' clock. */
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  /** Redis' clock now, ms: it tells how much of the message's time is left. Absent where nobody has asked it. */
  readonly serverNowMs?: () => number;
  readonly priority: Priority;
  /** JSON text of the request's `notification`; never empty. */
  readonly notification: string;
  /** Of a user's notifications with the same key the newest alone is to be shown. */
  readonly collapseKey?: string | undefined;
  /** 1 for the first. A worker that died while it sent has made one, too. */
  readonly attempt: number;
  /** Where the message is sampled: the context of this attempt, see protocol/trace-context. */
  readonly trace?: string | undefined;
}

export type ChannelOutcome =
  /** The provider answered that it has it: the message ends `pushed`. */
  | { readonly outcome: "taken" }
  /** This user cannot be reached this way: the next channel is asked. `notes` may say why. */
  | { readonly outcome: "no-device" }
  /** A newer message with the same collapse key is on its way, or there: this one must not come after it. */
  | { readonly outcome: "superseded" }
  /** It may work later. `afterMs`: the provider wants to be left alone for so long. */
  | { readonly outcome: "retry"; readonly reason: string; readonly afterMs?: number }
  /**
   * It never will: the next channel is asked. Where none takes it, the message ends `failed` and goes to the dead
   * letters of this cause.
   */
  | { readonly outcome: "failed"; readonly cause: DeadLetterCause; readonly reason: string };

export type ChannelAnswer = ChannelOutcome & {
  /**
   * What a message's timeline shows of this attempt, where that is more than the outcome: one for each device, with the
   * provider's id of the request. None of them is a secret.
   */
  readonly notes?: readonly Omit<AttemptNote, "channel">[];
};

/** How a channel's credential fares, without reaching anybody. */
export interface ChannelProbe {
  /** Its name, no secret. */
  readonly credential: string;
  readonly environment?: string;
  readonly topic?: string;
  /** `busy`: it could not be told now. */
  readonly verdict: "good" | "unreachable" | "refused" | "topic-refused" | "busy";
  /** In the provider's words. */
  readonly answer: string;
  /** Nothing is sent with it: it was refused before. */
  readonly isHalted: boolean;
  /** Of a certificate. */
  readonly expiresAtMs?: number;
}

/**
 * Ordering: none. Jobs are sent beside each other, up to FALLBACK_CONCURRENCY of this channel in this process, and by
 * several processes;
 * a retry comes after what was accepted later. A channel that owes an order keeps it itself.
 *
 * Atomicity: none across the wire. `send` is called before anything is written down; its answer is written down
 * afterwards, in one step.
 *
 * Guarantee: at least once, with the same id. The same job may come again after a crash, a lost answer or a pause: a
 * channel passes the id on, so that the far side can tell. It is not called for a message that was seen to have ended.
 */
export interface FallbackChannel {
  /** Lower-case letters and dashes; stands in records, metrics and timelines. */
  readonly name: string;
  /**
   * The kind of device that it reaches: it is not asked for a user who has none. Absent: it may reach anybody. It is
   * still asked now and then for a user whose last such device has just gone.
   */
  readonly platform?: Device["platform"];
  /** After this long `send` has answered, whatever the far side does, ms. */
  readonly longestSendMs: number;
  /**
   * Tries once. Faults are answers too: it rejects only where `signal` is aborted, and then soon.
   * @param signal aborted when the process must end: the job will come again, here or elsewhere
   */
  send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer>;
  /** Whether the provider is reached and takes our credentials. Absent where that cannot be told without a real user. */
  probe?(signal: AbortSignal): Promise<readonly ChannelProbe[]>;
  /** Lets go of connections; nothing is sent afterwards. */
  close(): Promise<void>;
}
