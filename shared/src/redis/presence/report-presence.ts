// push-node/presence -> here -> report-presence.lua, renew-holder.lua: what a node holds in topics of one partition.
// Guarantees: calls may repeat, come late or get lost; the newest counts. A node learns when it must write all it holds.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A node as it stands in a partition from its start, or from when it last had to write all it holds. */
export interface PresenceHolder {
  readonly node: string;
  /** Larger for each. */
  readonly number: number;
}

/** How the partition's keys name it. */
export const holderName = ({ node, number }: PresenceHolder): string => `${node}/${number}`;

export interface TopicReport {
  readonly topic: string;
  /** Connections of each user in the topic; 0: the last one has just gone; undefined: the user is not there any more. */
  readonly users: readonly (readonly [userId: string, connections: number | undefined])[];
}

export interface PresenceReport {
  readonly holder: PresenceHolder;
  /** Larger with each call, whatever became of the call before. */
  readonly version: number;
  /** The highest version of this holder's that was answered "ok"; 0 for none. */
  readonly written?: number;
  /** What it stands there as, too, and is replacing. */
  readonly former: PresenceHolder | undefined;
  /** With 200 users in all at most. */
  readonly topics: readonly TopicReport[];
}

/**
 * @returns "old" where a call of a higher version came before this one; "unknown" where the node must begin as a new
 * holder
 */
export async function reportPresence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { holder, version, written = 0, former, topics }: PresenceReport,
): Promise<"ok" | "old" | "unknown"> {
  const own = holderName(holder);
  const formerly = holderName(former ?? holder);
  const events = scripts.events.argument("topic.occupied", "topic.vacated");
  const answer = await scripts.run(
    "report-presence.v2",
    [
      keys.generation,
      keys.presenceNodes,
      keys.presenceTopics(own),
      ...topics.flatMap(({ topic }) => [
        keys.presenceUsers(topic),
        keys.presenceCounts(topic),
        keys.presenceOf(own, topic),
        keys.presenceOf(formerly, topic),
      ]),
      ...(events === "" ? [] : [keys.events, keys.eventLog]),
    ],
    [
      holder.node,
      holder.number,
      version,
      former === undefined ? "" : "1",
      keys.topicChannel,
      written,
      ...topics.flatMap(({ topic, users }) => [
        topic,
        users.length,
        ...users.flatMap(([userId, connections]) => [userId, connections ?? "-"]),
      ]),
      ...(events === "" ? [] : [events]),
    ],
  );
  return answer as "ok" | "old" | "unknown";
}

export interface HolderRenewal {
  readonly holder: PresenceHolder;
  readonly leaseMs: number;
  readonly begins?: boolean;
  /** As in a report. */
  readonly written?: number;
  /** The one that it replaces, and how long that one stays from now. */
  readonly former?: { readonly holder: PresenceHolder; readonly leaseMs: number };
}

/** @returns "unknown" where the node must begin as a new holder */
export async function renewHolder(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { holder, leaseMs, begins = false, written = 0, former }: HolderRenewal,
): Promise<"ok" | "unknown"> {
  const answer = await scripts.run(
    "renew-holder.v2",
    [keys.generation, keys.presenceLeases, keys.presenceNodes],
    [
      holder.node,
      holder.number,
      leaseMs,
      begins ? "1" : "",
      former === undefined ? "" : holderName(former.holder),
      former?.leaseMs ?? 0,
      written,
    ],
  );
  return answer as "ok" | "unknown";
}
