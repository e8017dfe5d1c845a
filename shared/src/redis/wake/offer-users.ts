// dispatch/offer-unreached -> here -> wake/offer.lua: users whom a hand-over, or a nudge, did not reach.
// Guarantees: the step that offers also decides who is offline; a message is offered once.
import type { PartitionKeys } from "../keys.js";
import { decodeOfferedTraces, type TracedMessage } from "./offered-traces.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { decodeOffered, DEFAULT_FALLBACK_CAP, ownerAndFallbackKeys, type OfferRules } from "./wake-users.js";

export const offerOutcomes = ["done", "offered", "grace", "unheard", "unsettled"] as const;

/** See wake/offer.lua for what each means. */
export type OfferOutcome = (typeof offerOutcomes)[number];

export interface OfferedUser {
  readonly userId: string;
  readonly outcome: OfferOutcome;
  /** How many of its messages went to the fallback. */
  readonly offered: number;
  /** Other messages wait, because their fallback stream is full. */
  readonly isHeldUp?: true;
  /** The sampled ones among the offered messages. */
  readonly traced?: readonly TracedMessage[] | undefined;
}

/**
 * @param gone nodes that did not listen a moment ago, and no longer had a key
 * @param userIds at most 200
 * @returns one for each user, in order, or "stale" if the token is no longer the owner's (nothing was changed)
 */
export async function offerUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  { absenceInMs, settleMs, confirmMs, fallbackCap = DEFAULT_FALLBACK_CAP }: OfferRules,
  gone: readonly string[],
  userIds: readonly string[],
): Promise<OfferedUser[] | "stale"> {
  const answer = await scripts.run(
    "offer.v2",
    [
      ...ownerAndFallbackKeys(keys),
      ...userIds.flatMap((userId) => [keys.user(userId), keys.inbox(userId), keys.routes(userId)]),
    ],
    [token, absenceInMs, settleMs, confirmMs, gone.join("\t"), keys.channel, fallbackCap, ...userIds],
  );
  if (answer === "stale") return answer;
  const lines = answer.split("\n");
  return userIds.map((userId, i) => {
    const [word, offered = "", traced] = (lines[i] ?? "").split("\t");
    const outcome = offerOutcomes.find((known) => known === word);
    if (outcome === undefined) throw new Error(`offer answered ${JSON.stringify(lines[i])}`);
    return { userId, outcome, ...decodeOffered(offered), traced: decodeOfferedTraces(traced) };
  });
}
