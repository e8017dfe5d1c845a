// dispatch/presence -> here -> find-gone-holders.lua, remove-holder.lua: nodes that are gone, and what they reported.
// Guarantees: only a holder whose lease has ended is touched, and only by the partition's owner. A call removes a
// bounded number of users.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { holderName, type PresenceHolder } from "./report-presence.js";

/** Users removed per call. */
const MAX_USERS = 200;
/** Topics searched per call. */
const MAX_TOPICS = 50;

export interface GoneHolders {
  readonly holders: readonly PresenceHolder[];
  /** How long until the next lease ends; undefined if there is none. */
  readonly nextInMs: number | undefined;
}

/** @returns holders whose lease has ended, at most `limit` */
export async function findGoneHolders(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  limit: number,
): Promise<GoneHolders> {
  const answer = await scripts.run(
    "find-gone-holders.v1",
    [keys.presenceLeases, keys.presenceNodes],
    [limit],
  );
  const [next = "", ...names] = answer.split("\n");
  const holders = names.map((name) => {
    const slash = name.lastIndexOf("/");
    return { node: name.slice(0, slash), number: Number(name.slice(slash + 1)) };
  });
  return { holders, nextInMs: next === "" ? undefined : Number(next) };
}

/** `alive`: its lease was renewed · `wait`: absence proves nothing yet, see offer/absence-watch */
export type Removal =
  | { readonly outcome: "stale" | "alive" | "wait" }
  | { readonly outcome: "more" | "done"; readonly users: number };

export interface RemovalRules {
  /** How long after a change of generation nothing is removed. */
  readonly settleMs: number;
  /** At most 200. */
  readonly maxUsers?: number;
}

/**
 * Removes some of what a holder reported.
 * @param token the owner's
 */
export async function removeHolder(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  holder: PresenceHolder,
  { settleMs, maxUsers = MAX_USERS }: RemovalRules,
): Promise<Removal> {
  const name = holderName(holder);
  const topics = await scripts.redis.srandmember(keys.presenceTopics(name), MAX_TOPICS);
  const events = scripts.events.argument("topic.vacated");
  const answer = await scripts.run(
    "remove-holder.v2",
    [
      keys.owner,
      keys.generation,
      keys.presenceLeases,
      keys.presenceNodes,
      keys.presenceTopics(name),
      ...topics.flatMap((topic) => [
        keys.presenceUsers(topic),
        keys.presenceCounts(topic),
        keys.presenceOf(name, topic),
      ]),
      ...(events === "" ? [] : [keys.events, keys.eventLog]),
    ],
    [
      token,
      holder.node,
      holder.number,
      settleMs,
      maxUsers,
      keys.topicChannel,
      ...topics,
      ...(events === "" ? [] : [events]),
    ],
  );
  const [outcome = "", users = ""] = answer.split("\t");
  if (outcome === "more" || outcome === "done") return { outcome, users: Number(users) };
  return { outcome: outcome as "stale" | "alive" | "wait" };
}
