// push-node/presence -> here -> report-presence.lua, renew-holder.lua: what a node holds in topics of one partition.
// Guarantees: calls may be repeated, late or lost; the newest counts. A node is told when it must report everything
// anew.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A node's identity in a partition, from its start or from when it last had to report everything. */
export interface PresenceHolder {
  readonly node: string;
  /** Grows with each new holder. */
  readonly number: number;
}

/** How it is named in the partition's keys. */
export const holderName = ({ node, number }: PresenceHolder): string => `${node}/${number}`;

export interface TopicReport {
  readonly topic: string;
  /**
   * Each user's connections in the topic; 0: the last one has just closed; undefined: the user is not there any more.
   */
  readonly users: readonly (readonly [userId: string, connections: number | undefined])[];
}

export interface PresenceReport {
  readonly holder: PresenceHolder;
  /** Grows with each call, whatever became of the call before. */
  readonly version: number;
  /** The highest version of this holder that was answered "ok"; 0 if none was. */
  readonly written?: number;
  /** An earlier holder of this node that this one is replacing. */
  readonly former: PresenceHolder | undefined;
  /** With at most 200 users in total. */
  readonly topics: readonly TopicReport[];
}

/** @returns "old" if a call of a higher version came first; "unknown" if the node must start over as a new holder */
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
  /** The holder that it replaces, and how much longer that one stays. */
  readonly former?: { readonly holder: PresenceHolder; readonly leaseMs: number };
}

/** @returns "unknown" if the node must start over as a new holder */
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
