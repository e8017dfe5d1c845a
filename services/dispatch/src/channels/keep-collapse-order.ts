// channels/apns/apns-channel, channels/web/web-channel -> here -> fallback/take-collapse-turn: sends a user's
// notifications with one collapse key one after another.
// Guarantees: once a newer one has begun, in whichever process, an older one is not sent. A process that dies delays
// the others by its lease. Only one request is under way, because a provider may reorder two.
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  type CollapsibleMessage,
  endCollapseTurn,
  takeCollapseTurn,
} from "@petrel/shared/redis/fallback/take-collapse-turn";
import type { ChannelAnswer } from "./fallback-channel.js";
import { unlessAborted } from "./unless-aborted.js";

export interface CollapseOrderOptions {
  readonly scripts: ScriptRunner;
  readonly keys: PartitionKeys;
  /** The longest that a send may take, ms. */
  readonly leaseMs: number;
  /** How long to wait for another send to end before this message is retried later, ms. */
  readonly waitMs: number;
  /** The message's expiry, ms since 1970. */
  readonly keepUntilMs: number;
}

const ASK_EVERY_MS = 25;

/** @throws if the signal is aborted, or Redis does not answer before the send has begun */
export async function keepCollapseOrder(
  { scripts, keys, leaseMs, waitMs, keepUntilMs }: CollapseOrderOptions,
  message: CollapsibleMessage,
  signal: AbortSignal,
  send: () => Promise<ChannelAnswer>,
): Promise<ChannelAnswer> {
  const options = { holder: randomBytes(9).toString("base64url"), leaseMs, keepUntilMs };
  for (let waitedMs = 0; ; waitedMs += ASK_EVERY_MS) {
    const taken = await unlessAborted(takeCollapseTurn(scripts, keys, message, options), signal);
    if (taken.turn === "superseded") return { outcome: "superseded" };
    if (taken.turn === "go") break;
    if (waitedMs >= waitMs) {
      return {
        outcome: "retry",
        reason: "another with its collapse key is being sent",
        afterMs: taken.forMs,
      };
    }
    await pause(ASK_EVERY_MS, undefined, { signal });
  }
  try {
    return await send();
  } finally {
    // If this fails, the lease ends by itself.
    void endCollapseTurn(scripts, keys, message, options).catch(() => undefined);
  }
}
