// dispatch/channels/keep-collapse-order -> here -> fallback/take-collapse-turn.lua: which of a user's notifications
// with one collapse key may be sent.
// Guarantees: one at a time in the whole cluster, as long as leases last; none after a newer one has begun.
import { hash } from "node:crypto";
import { lineageOf } from "../../protocol/messages/stored-message.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface CollapsibleMessage {
  readonly userId: string;
  readonly collapseKey: string;
  readonly epoch: string;
  readonly seq: number;
}

export interface TurnOptions {
  /** Uniquely identifies this send; holds no tab. */
  readonly holder: string;
  /** How long the turn lasts, unless the send reports its end. */
  readonly leaseMs: number;
  /** The message's expiry, ms since 1970 by Redis' clock. */
  readonly keepUntilMs: number;
}

export type CollapseTurn =
  | { readonly turn: "go" }
  /** A newer one has begun. */
  | { readonly turn: "superseded" }
  /** Another one is being sent, for at most `forMs`. */
  | { readonly turn: "busy"; readonly forMs: number };

export async function takeCollapseTurn(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  message: CollapsibleMessage,
  options: TurnOptions,
): Promise<CollapseTurn> {
  const answer = await call(scripts, keys, "begin", message, options);
  const [turn, forMs = "0"] = answer.split("\t");
  if (turn === "busy") return { turn, forMs: Number(forMs) };
  if (turn === "go" || turn === "superseded") return { turn };
  throw new Error(`take-collapse-turn answered ${JSON.stringify(answer)}`);
}

/** Lets the next one begin; has no effect on a send that took over meanwhile. */
export async function endCollapseTurn(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  message: CollapsibleMessage,
  options: TurnOptions,
): Promise<void> {
  await call(scripts, keys, "end", message, options);
}

function call(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  action: "begin" | "end",
  { userId, collapseKey, epoch, seq }: CollapsibleMessage,
  { holder, leaseMs, keepUntilMs }: TurnOptions,
): Promise<string> {
  return scripts.run(
    "take-collapse-turn.v1",
    [keys.collapseTurn(userId, hash("sha256", collapseKey, "base64url").slice(0, 22))],
    [action, lineageOf(epoch), seq, holder, leaseMs, keepUntilMs],
  );
}
