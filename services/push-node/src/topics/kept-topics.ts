// push-node/connect/register-connection, push-node/deliver/receive-envelopes -> here ->
// push-node/topics/topic-memberships: the topics that the server keeps for a user, and `$all`.
// Guarantees: after `welcome` a connection has them without asking, in the same write if this node follows them. A
// change reaches existing connections at once, in whatever order the change and an older or newer answer arrive.
import type { KeptTopicChange } from "@petrel/shared/protocol/messages/node-messages";
import { isGranted } from "@petrel/shared/protocol/topics/topic-grants";
import { BROADCAST_TOPIC, isTopicName } from "@petrel/shared/protocol/topics/topic-name";
import type { Connection, Subscription } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { FollowTopics } from "../fan-out/follow-topics.js";
import type { TopicPosition } from "../fan-out/node-topic.js";
import type { JoinAttempt, TopicMemberships } from "./topic-memberships.js";
import type { TopicPresence } from "./topic-presence.js";
import type { RecoveryOutcome } from "./topic-requests.js";

export interface KeptTopicsDeps {
  readonly memberships: TopicMemberships;
  readonly follow: FollowTopics;
  readonly registry: Pick<ConnectionRegistry, "ofUser">;
  readonly presence: TopicPresence;
  readonly onRecovery: (outcome: RecoveryOutcome) => void;
}

export class KeptTopics {
  readonly #deps: KeptTopicsDeps;

  constructor(deps: KeptTopicsDeps) {
    this.#deps = deps;
  }

  /** A call is about to ask which topics are kept: changes from now on may be newer than its answer. */
  asking(connection: Connection): void {
    connection.keptChanges ??= { underWay: 0, byTopic: new Map() };
    connection.keptChanges.underWay++;
  }

  /** That call has ended; `kept` is absent if it failed. */
  answered(connection: Connection, kept?: readonly string[]): void {
    const changes = connection.keptChanges;
    if (kept !== undefined && connection.isOpen) {
      const wanted = new Set(kept);
      for (const [topic, isKept] of changes?.byTopic ?? []) {
        if (isKept) wanted.add(topic);
        else wanted.delete(topic);
      }
      this.#apply(connection, wanted);
    }
    if (changes !== undefined && --changes.underWay === 0) connection.keptChanges = undefined;
  }

  /** Right after `welcome` was queued; the caller flushes. @param position in `$all` */
  welcome(connection: Connection, kept: readonly string[], position: TopicPosition | undefined): void {
    const { memberships } = this.#deps;
    const broadcast = memberships.add(connection, BROADCAST_TOPIC);
    broadcast.byServer = true;
    this.#joinUnasked(broadcast, { position, hasRefreshed: false, hasReadLog: false });
    this.answered(connection, kept);
  }

  /** The server announced changes. */
  changed(changes: readonly KeptTopicChange[]): void {
    for (const { userId, topic, isKept } of changes) {
      for (const connection of this.#deps.registry.ofUser(userId)) {
        connection.keptChanges?.byTopic.set(topic, isKept);
        if (connection.phase === "registering" || !connection.isOpen) continue;
        if (isKept) this.#hold(connection, topic);
        else this.#release(connection, topic);
        connection.flush();
      }
    }
  }

  /** Its token changed: ends what only the client wants and may no longer have. */
  rightsChanged(connection: Connection): void {
    for (const subscription of connection.subscriptions?.values() ?? []) {
      const { topic, byClient, byServer, hasPresence } = subscription;
      if (hasPresence && !isGranted(connection.grants, topic, "presence")) {
        subscription.hasPresence = false;
        this.#deps.presence.watched(subscription);
      }
      if (!byClient || isGranted(connection.grants, topic, "subscribe")) continue;
      subscription.byClient = false;
      if (!byServer) this.#deps.memberships.end(subscription, "forbidden");
    }
  }

  #apply(connection: Connection, wanted: ReadonlySet<string>): void {
    for (const { topic, byServer } of connection.subscriptions?.values() ?? []) {
      if (byServer && !wanted.has(topic)) this.#release(connection, topic);
    }
    for (const topic of wanted) this.#hold(connection, topic);
  }

  #hold(connection: Connection, topic: string): void {
    const { memberships } = this.#deps;
    if (!isTopicName(topic)) return;
    const known = memberships.find(connection, topic);
    const subscription = known ?? memberships.add(connection, topic);
    subscription.byServer = true;
    if (known !== undefined) return;
    this.#joinUnasked(subscription, { position: undefined, hasRefreshed: false, hasReadLog: false });
  }

  #release(connection: Connection, topic: string): void {
    const { memberships } = this.#deps;
    const subscription = memberships.find(connection, topic);
    if (subscription?.byServer !== true) return;
    subscription.byServer = false;
    if (!subscription.byClient) memberships.end(subscription, "removed");
  }

  /** As soon as the topic can be joined, unless it ends before, or the client's own request is served first. */
  #joinUnasked(subscription: Subscription, attempt: JoinAttempt): void {
    const { memberships, follow, onRecovery } = this.#deps;
    const { connection, topic: name } = subscription;
    const tryToJoin = (): void => {
      if (subscription.index !== -1 || memberships.find(connection, name) !== subscription) return;
      const topic = follow.open(name);
      if (!memberships.isAnswerable(topic, attempt, waiter)) return;
      const recovery = memberships.join(topic, subscription, attempt.position);
      if (recovery !== "none")
        onRecovery(recovery === "failed" ? "failed" : attempt.hasReadLog ? "log" : "ring");
    };
    const waiter = {
      onReady: () => {
        tryToJoin();
        connection.flush();
      },
    };
    tryToJoin();
  }
}
