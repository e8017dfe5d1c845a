// accept/accept.lua, wake/offer.lua, wake/wake.lua -> here -> dispatch/fall-back: a message that must reach its user by
// a fallback channel.
// Guarantees: the scripts and this reader agree; the entry carries what a channel needs, without the message's `data`.
import { type DeadLetterCause, isDeadLetterCause } from "./dead-letter-causes.js";
import { shortenReason } from "./fallback-attempt.js";
import { splitNotification } from "../messages/notification-text.js";
import { decodePolicyLetters, type DeliveryPolicy, type Traced } from "../messages/stored-message.js";

export interface FallbackEntry extends DeliveryPolicy, Traced {
  readonly collapseKey: string | undefined;
  readonly userId: string;
  readonly seq: number;
  readonly epoch: string;
  /** When it was accepted, and when it expires; ms since 1970 by Redis' clock. */
  readonly atMs: number;
  readonly expiresAtMs: number;
  readonly id: string;
  /** The channels that may be asked; absent means all. */
  readonly channels: readonly string[] | undefined;
  /** Why an earlier channel failed, if one did. */
  readonly failure: FallbackFailure | undefined;
}

/** Why a channel will never accept a message. */
export interface FallbackFailure {
  readonly cause: DeadLetterCause;
  readonly reason: string;
}

/** cause SPACE reason, without tabs; "" for none */
export function encodeFailure(failure: FallbackFailure | undefined): string {
  if (failure === undefined) return "";
  return `${failure.cause} ${shortenReason(failure.reason).replaceAll(/\s/g, " ")}`;
}

function decodeFailure(text: string): FallbackFailure | undefined {
  const space = text.indexOf(" ");
  const cause = text.slice(0, space);
  return space > 0 && isDeadLetterCause(cause) ? { cause, reason: text.slice(space + 1) } : undefined;
}

/** The fields of a stream entry: "m", this text; "n", the number of earlier attempts. */
export const FALLBACK_FIELDS = { entry: "m", attempts: "n" } as const;

/** @param value userId TAB seq TAB epoch TAB at TAB expiresAt TAB id TAB letters TAB notification [TAB trace [TAB failure]] */
export function decodeFallbackEntry(value: string): FallbackEntry {
  const [
    userId = "",
    seq = "",
    epoch = "",
    at = "",
    expiresAt = "",
    id = "",
    letters = "",
    notification = "",
    trace = "",
    failure = "",
  ] = value.split("\t");
  return {
    userId,
    seq: Number(seq),
    epoch,
    atMs: Number(at),
    expiresAtMs: Number(expiresAt),
    id,
    ...decodePolicyLetters(letters),
    ...splitNotification(notification),
    trace: trace === "" ? undefined : trace,
    failure: decodeFailure(failure),
  };
}
