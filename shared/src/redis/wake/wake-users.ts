// dispatch/wake-users -> here -> wake/wake.lua: users who have had messages open for too long.
// Guarantees: every user with an open message is in `due`, and leaves it only when nothing is open any more.
import { priorities } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { decodeOfferedTraces, type TracedMessage } from "./offered-traces.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export const wakeOutcomes = ["done", "later", "offline", "grace", "unsettled", "nudged", "unheard"] as const;

/** See wake/wake.lua for what each means. */
export type WakeOutcome = (typeof wakeOutcomes)[number];

export interface WokenUser {
  readonly userId: string;
  readonly outcome: WakeOutcome;
  /** A message has expired: the caller must write its end. */
  readonly expire: boolean;
  /** How many of its messages went to the fallback. */
  readonly offered: number;
  /** Other messages wait, because their fallback stream is full. */
  readonly isHeldUp?: true;
  /** The sampled ones among the offered messages. */
  readonly traced?: readonly TracedMessage[] | undefined;
  /** For `unheard`: the nodes in the user's routes. */
  readonly nodes: readonly string[];
}

/** When a user's absence counts. */
export interface AbsenceRules {
  /** How long from now absence proves nothing, because the caller's own link has just recovered; otherwise 0. */
  readonly absenceInMs: number;
  /** How long absence proves nothing after a change of generation: nodes are registering their connections again. */
  readonly settleMs: number;
  /** How long a live node may go without listening before it counts as not reached. */
  readonly confirmMs: number;
}

/** The default limit for entries of a partition's fallback stream. */
export const DEFAULT_FALLBACK_CAP = 100_000;

/** When a user is offered to the fallback, and how much a stream may hold. */
export interface OfferRules extends AbsenceRules {
  /** The most entries of a fallback stream; a message that finds no room waits in its inbox. */
  readonly fallbackCap?: number | undefined;
}

/**
 * @param nowMs Redis' clock
 * @param limit at most 200, what one call of `wakeUsers` takes
 */
export async function readDueUsers(
  redis: Redis,
  keys: PartitionKeys,
  nowMs: number,
  limit: number,
): Promise<string[]> {
  return redis.zrangebyscore(keys.due, "-inf", nowMs, "LIMIT", 0, limit);
}

/**
 * @param userIds at most 200
 * @returns one for each user, in order, or "stale" if the token is no longer the owner's (nothing was changed)
 */
export async function wakeUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  {
    ackTimeoutMs,
    absenceInMs,
    settleMs,
    confirmMs,
    fallbackCap = DEFAULT_FALLBACK_CAP,
  }: OfferRules & { readonly ackTimeoutMs: number },
  userIds: readonly string[],
): Promise<WokenUser[] | "stale"> {
  const answer = await scripts.run(
    "wake.v3",
    [
      ...ownerAndFallbackKeys(keys),
      ...userIds.flatMap((userId) => [keys.user(userId), keys.inbox(userId), keys.routes(userId)]),
    ],
    [token, ackTimeoutMs, keys.channel, absenceInMs, settleMs, confirmMs, fallbackCap, ...userIds],
  );
  if (answer === "stale") return answer;
  const lines = answer.split("\n");
  return userIds.map((userId, i) => {
    const [word, expire, offered = "", nodes = "", traced] = (lines[i] ?? "").split("\t");
    const outcome = wakeOutcomes.find((known) => known === word);
    if (outcome === undefined) throw new Error(`wake answered ${JSON.stringify(lines[i])}`);
    return {
      userId,
      outcome,
      expire: expire === "expire",
      ...decodeOffered(offered),
      traced: decodeOfferedTraces(traced),
      nodes: nodes === "" ? [] : nodes.split(","),
    };
  });
}

/** Decodes what scripts/includes/messages/offer-messages writes. */
export function decodeOffered(text: string): { readonly offered: number; readonly isHeldUp?: true } {
  return text.endsWith("+")
    ? { offered: Number(text.slice(0, -1)), isHeldUp: true }
    : { offered: Number(text) };
}

/** Defers the next look at a user who is still in `due` but cannot be processed now. */
export async function postponeUser(
  redis: Redis,
  keys: PartitionKeys,
  userId: string,
  atMs: number,
): Promise<void> {
  await redis.zadd(keys.due, "XX", atMs, userId);
}

/** The keys that wake/wake.lua and wake/offer.lua take before those of their users. */
export function ownerAndFallbackKeys(keys: PartitionKeys): string[] {
  return [keys.owner, keys.due, keys.generation, ...priorities.map((priority) => keys.fallback(priority))];
}
