// dispatch/wake-users -> here -> wake/wake.lua: users who have had something open for too long.
// Guarantees: every user with an un-ended message is in `due`, and leaves it only when nothing is open any more.
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
  /** A message has expired: the caller writes its end. */
  readonly expire: boolean;
  /** How many of its messages went to the fallback. */
  readonly offered: number;
  /** Others wait: their fallback stream is full. */
  readonly isHeldUp?: true;
  /** The sampled ones of the offered messages. */
  readonly traced?: readonly TracedMessage[] | undefined;
  /** For `unheard`: the nodes in its routes. */
  readonly nodes: readonly string[];
}

/** When absence counts as such. */
export interface AbsenceRules {
  /** How long from now absence proves nothing, because the caller's own link has just come back; else 0. */
  readonly absenceInMs: number;
  /** How long absence proves nothing after a change of generation: the nodes register their connections again. */
  readonly settleMs: number;
  /** After how long a node that is alive, but does not listen, counts as not reached. */
  readonly confirmMs: number;
}

/** Entries that a partition's fallback stream may hold by default. */
export const DEFAULT_FALLBACK_CAP = 100_000;

/** When a user is offered to the fallback, and how much a stream takes. */
export interface OfferRules extends AbsenceRules {
  /** Entries that a fallback stream may hold; a message that finds no room waits in its inbox. */
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

/** @returns when the first user's time comes, by Redis' clock; Infinity where nobody's does */
export async function readFirstDueMs(redis: Redis, keys: PartitionKeys): Promise<number> {
  const [, scoreMs] = await redis.zrange(keys.due, "0", "0", "WITHSCORES");
  return scoreMs === undefined ? Number.POSITIVE_INFINITY : Number(scoreMs);
}

/**
 * @param userIds at most 200
 * @returns one for each user, in order, or "stale" where the token is not the owner's any more (nothing was changed)
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

/** How many were offered, in the form that scripts/includes/messages/offer-messages writes. */
export function decodeOffered(text: string): { readonly offered: number; readonly isHeldUp?: true } {
  return text.endsWith("+")
    ? { offered: Number(text.slice(0, -1)), isHeldUp: true }
    : { offered: Number(text) };
}

/** Puts off the next look at a user who is still in `due`, but cannot be looked at now. */
export async function postponeUser(
  redis: Redis,
  keys: PartitionKeys,
  userId: string,
  atMs: number,
): Promise<void> {
  await redis.zadd(keys.due, "XX", atMs, userId);
}

/** What wake/wake.lua and wake/offer.lua take before their users. */
export function ownerAndFallbackKeys(keys: PartitionKeys): string[] {
  return [keys.owner, keys.due, keys.generation, ...priorities.map((priority) => keys.fallback(priority))];
}
