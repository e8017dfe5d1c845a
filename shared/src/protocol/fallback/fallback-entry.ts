// accept/accept.lua, wake/offer.lua, wake/wake.lua -> here -> dispatch/fall-back: a message that must reach its user by
// a fallback channel.
// Guarantees: the scripts and this reader agree; the entry carries what a channel needs, and not `data`.
import { splitCollapseKey } from "../messages/notification-text.js";
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
}

/** The fields of a stream entry: "m", this text; "n", the number of earlier attempts. */
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
