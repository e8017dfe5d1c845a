// fallback/ask-channel -> here: the port of a way to reach a user who has no connection.
// Guarantees: the comments here say what a channel may rely on and what it must do; testing/channel-conformance checks
// every implementation against them.
import type { DeadLetterCause } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import type { Device } from "@petrel/shared/protocol/fallback/device";
import type { AttemptNote } from "@petrel/shared/protocol/fallback/fallback-attempt";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";

/** A message on its way out. */
export interface FallbackJob {
  /** The message's id: the same at every attempt, so that the receiver recognises a repetition. */
  readonly id: string;
  readonly userId: string;
  readonly seq: number;
  readonly epoch: string;
  /** ms since 1970 by Redis' clock. */
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  /** Redis's clock now, ms, to tell how much of the TTL is left. Absent if nobody has read it. */
  readonly serverNowMs?: () => number;
  readonly priority: Priority;
  /** JSON text of the request's `notification`; never empty. */
  readonly notification: string;
  /** Of a user's notifications with the same key, only the newest is shown. */
  readonly collapseKey?: string | undefined;
  /** 1 for the first. Counts an attempt whose worker died, too. */
  readonly attempt: number;
  /** The context of this attempt, if the message is sampled; see protocol/trace-context. */
  readonly trace?: string | undefined;
}

export type ChannelOutcome =
  /** The provider confirmed it: the message ends `pushed`. */
  | { readonly outcome: "taken" }
  /** This channel cannot reach the user: the next one is asked. `notes` may say why. */
  | { readonly outcome: "no-device" }
  /** A newer message with the same collapse key is under way or was sent: this one must not follow it. */
  | { readonly outcome: "superseded" }
  /** It may work later. `afterMs`: the provider wants no requests for this long. */
  | { readonly outcome: "retry"; readonly reason: string; readonly afterMs?: number }
  /**
   * It never will: the next channel is asked. If none accepts it, the message ends `failed` and becomes a dead letter
   * of this cause.
   */
  | { readonly outcome: "failed"; readonly cause: DeadLetterCause; readonly reason: string };

export type ChannelAnswer = ChannelOutcome & {
  /**
   * Shown in the message's timeline if there is more to tell than the outcome: one for each device, with the provider's
   * id of the request. Never a secret.
   */
  readonly notes?: readonly Omit<AttemptNote, "channel">[];
};

/** The state of a channel's credential, checked without reaching anybody. */
export interface ChannelProbe {
  /** The credential's name, not a secret. */
  readonly credential: string;
  readonly environment?: string;
  readonly topic?: string;
  /** `busy`: it could not be determined now. */
  readonly verdict: "good" | "unreachable" | "refused" | "topic-refused" | "busy";
  /** The provider's own words. */
  readonly answer: string;
  /** Nothing is sent with it, because it was refused before. */
  readonly isHalted: boolean;
  /** A certificate's expiry. */
  readonly expiresAtMs?: number;
}

/**
 * Ordering: none. Jobs are sent concurrently, up to FALLBACK_CONCURRENCY for this channel in this process, and by
 * several processes; a retry may come after messages that were accepted later. A channel that must keep an order does
 * so itself.
 * Atomicity: none across the wire. `send` is called before anything is recorded; its answer is then recorded in one
 * step.
 * Guarantee: at least once, with the same id. The same job may come again after a crash, a lost answer or a pause; a
 * channel passes the id on, so that the receiver can tell. It is not called for a message that is known to have ended.
 */
export interface FallbackChannel {
  /** Lower-case letters and hyphens; stands in records, metrics and timelines. */
  readonly name: string;
  /**
   * The kind of device that it reaches; it is not asked for a user who has none. Absent: it may reach anybody. It is
   * occasionally asked for a user whose last such device has just been removed.
   */
  readonly platform?: Device["platform"];
  /** `send` answers within this time, whatever the provider does, ms. */
  readonly longestSendMs: number;
  /**
   * Tries once. Faults are answers too: it rejects only if `signal` is aborted, and then soon.
   * @param signal aborted when the process must end; the job will come again, here or elsewhere
   */
  send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer>;
  /** Whether the provider is reachable and accepts our credentials. Absent if that takes a real user to find out. */
  probe?(signal: AbortSignal): Promise<readonly ChannelProbe[]>;
  /** Closes the connections; nothing is sent afterwards. */
  close(): Promise<void>;
}
