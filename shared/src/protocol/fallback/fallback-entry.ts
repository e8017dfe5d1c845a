// accept/accept.lua, wake/offer.lua, wake/wake.lua -> here -> dispatch/fall-back: a message that is to reach its user by a
// fallback channel.
// Guarantees: what the scripts write and what is read here agree; it carries what a channel needs, and not `data`.
import { splitCollapseKey } from "../messages/notification-text.js";
import { decodePolicyLetters, type DeliveryPolicy, type Traced } from "../messages/stored-message.js";

export interface FallbackEntry extends DeliveryPolicy, Traced {
  readonly collapseKey: string | undefined;
  readonly userId: string;
  readonly seq: number;
  readonly epoch: string;
  /** When it was accepted, and when its time is over; ms since 1970 by Redis' clock. */
  readonly atMs: number;
  readonly expiresAtMs: number;
  readonly id: string;
}

/** The fields of a stream entry: "m", this text; "n", how many attempts were made before. */
export const FALLBACK_FIELDS = { entry: "m", attempts: "n" } as const;

/** @param value userId TAB seq TAB epoch TAB at TAB expiresAt TAB id TAB letters TAB notification [TAB trace] */
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
    trace,
  ] = value.split("\t");
  return {
    userId,
    seq: Number(seq),
    epoch,
    atMs: Number(at),
    expiresAtMs: Number(expiresAt),
    id,
    ...decodePolicyLetters(letters),
    ...splitCollapseKey(notification),
    trace,
  };
}
