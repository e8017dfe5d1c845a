// push-node/start-push-node, push-node/topics -> here -> push-node/presence/{held-presence, report-presence,
// tell-presence}: who is in topics with presence over this node, reported and told.
// Guarantees: whoever is subscribed counts, until three seconds after the last connection; an erased user goes at once.
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

export interface NodePresence {
  /** It is subscribed: said again, nothing happens. */
  readonly join: (member: PresenceMember) => void;
  /** It is not any more. */
  readonly leave: (member: PresenceMember) => void;
  /** After its `subscribed`: whether it wants to be told. */
  readonly ask: (member: PresenceMember, wants: boolean) => void;
  /** The topic's channel said that somebody came or went. */
  readonly changed: (topic: string) => void;
  /** Words of these topics' channels may have been missed. */
  readonly lookAgain: (topics?: Iterable<string>) => void;
  /** The link to Redis was down: what was reported may be lost. */
  readonly linkIsBack: () => void;
  readonly forgetUser: (userId: string) => void;
  /** @param members all that are subscribed on this node */
  readonly rulesChanged: (members: Iterable<PresenceMember>) => void;
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

/** How long a user is still there after the last connection. */
const GRACE_MS = 3_000;
/** A word that was lost, and that no other followed, is made up for after this long. */
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

  const join = (member: PresenceMember): void => {
    const { topic, connection } = member;
    if (ruleOf(topic).presence !== "off") held.join(topic, connection.userId, connection);
  };

  return {
    join,
    leave: (member) => {
      tell.drop(member);
      held.leave(member.topic, member.connection.userId, member.connection);
    },
    ask: (member, wants) => (wants ? tell.ask(member) : tell.drop(member)),
    changed: (topic) => tell.changed(topic),
    lookAgain: (topics) => tell.lookAgain(topics),
    linkIsBack: () => reports.renewAll(),
    forgetUser: (userId) => held.forgetUser(userId),
    rulesChanged: (members) => {
      for (const topic of held.topics()) if (ruleOf(topic).presence === "off") held.forgetTopic(topic);
      for (const member of members) join(member);
      // `count` and `list` show different things.
      tell.lookAgain();
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
