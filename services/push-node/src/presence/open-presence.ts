// push-node/start-push-node, push-node/topics -> here -> push-node/presence/{held-presence, report-presence,
// tell-presence}: who is in topics with presence through this node, reported to Redis and told to clients.
// Guarantees: subscribers count until three seconds after their last connection; an erased user is gone at once.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { HeldPresence } from "./held-presence.js";
import { createPresenceMetrics } from "./presence-metrics.js";
import type { PresenceMember } from "./presence-view.js";
import { PresenceReports } from "./report-presence.js";
import { TellPresence } from "./tell-presence.js";

/** Called by the topics' room (push-node/topics/topic-presence), and for node-wide changes. */
export interface NodePresence {
  /** The member is subscribed; idempotent. */
  readonly joined: (member: PresenceMember) => void;
  /** The member is no longer subscribed. */
  readonly left: (member: PresenceMember) => void;
  /** After its `subscribed`: whether it wants to be told. */
  readonly watched: (member: PresenceMember & { readonly hasPresence: boolean }) => void;
  /** Somebody came or went, or such news may have been missed. */
  readonly changed: (topic: string) => void;
  /** The link to Redis was down: reports may have been lost. */
  readonly linkIsBack: () => void;
  readonly erased: (userIds: readonly string[]) => void;
  /** @param topics all that have members on this node */
  readonly rulesChanged: (topics: Iterable<{ readonly members: readonly PresenceMember[] }>) => void;
  readonly start: () => void;
  readonly stop: () => Promise<void>;
}

export interface OpenPresenceOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly nodeId: string;
  /** How long this node's reports outlive it. */
  readonly leaseMs: number;
  readonly ruleOf: (topic: string) => Pick<TopicRule, "presence">;
  readonly outboundBoundBytes: number;
  readonly metrics: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long a user stays after the last connection. */
const GRACE_MS = 3_000;
/** How soon lost news that no other followed is made up for. */
const LOOK_AGAIN_MS = 10_000;

export function openPresence(options: OpenPresenceOptions): NodePresence {
  const { partitions, nodeId, ruleOf, metrics, ...deps } = options;
  const keysOf = (topic: string): PartitionKeys => {
    const keys = partitions[partitionOfTopic(topic, partitions.length)];
    if (keys === undefined) throw new Error("partition out of range");
    return keys;
  };
  const counts = createPresenceMetrics(metrics, {
    users: () => held.size,
    topicsAsked: () => tell.size,
  });
  const held = new HeldPresence({
    clock: deps.clock,
    graceMs: GRACE_MS,
    keysOf,
    onChanged: (user) => reports.changed(user),
  });
  const reports = new PresenceReports({
    ...deps,
    partitions,
    node: nodeId,
    graceMs: GRACE_MS,
    held,
    observer: {
      written: (users) => {
        counts.reported(users.length);
        tell.written(new Set(users.map(({ topic }) => topic)));
      },
      begun: counts.begun,
      failed: counts.failed,
    },
  });
  const tell = new TellPresence({
    ...deps,
    keysOf,
    ruleOf: (topic) => ruleOf(topic).presence,
    isWritten: (topic, userId) => held.find(topic, userId)?.isDirty === false,
    observer: counts,
  });
  let timer: NodeJS.Timeout | undefined;

  const joined = (member: PresenceMember): void => {
    const { topic, connection } = member;
    // A closing connection, perhaps of an erased user, must not be added again.
    if (!connection.isOpen || ruleOf(topic).presence === "off") return;
    held.join(topic, connection.userId, connection);
  };

  return {
    joined,
    left: (member) => {
      tell.drop(member);
      held.leave(member.topic, member.connection.userId, member.connection);
    },
    watched: (member) => (member.hasPresence ? tell.ask(member) : tell.drop(member)),
    changed: (topic) => tell.changed(topic),
    linkIsBack: () => reports.renewAll(),
    erased: (userIds) => {
      for (const userId of userIds) held.forgetUser(userId);
    },
    rulesChanged: (topics) => {
      for (const topic of held.topics()) if (ruleOf(topic).presence === "off") held.forgetTopic(topic);
      for (const { members } of topics) for (const member of members) joined(member);
      tell.rulesChanged();
    },
    start: () => {
      reports.start();
      timer ??= setInterval(() => tell.lookAgain(), LOOK_AGAIN_MS);
    },
    stop: async () => {
      clearInterval(timer);
      tell.stop();
      held.stop();
      await reports.stop();
    },
  };
}
