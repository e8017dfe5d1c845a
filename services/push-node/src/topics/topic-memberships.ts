// push-node/topics/{topic-requests, kept-topics} -> here -> push-node/fan-out/{follow-topics, topic-catch-up}: which
// connection has which topics.
// Guarantees: a connection has a topic at most once, whoever asked for it. No `message` of it comes before
// `subscribed`, or after its end.
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import type { UnsubscribedReason } from "@petrel/shared/protocol/frames/server-frames";
import type { Connection, Subscription } from "../connection/connection.js";
import { TopicSubscription } from "../connection/subscription.js";
import type { FollowTopics } from "../fan-out/follow-topics.js";
import type { NodeTopic, TopicPosition, TopicWaiter } from "../fan-out/node-topic.js";
import type { Recovery, TopicCatchUp } from "../fan-out/topic-catch-up.js";
import type { TopicPresence } from "./topic-presence.js";

export interface MembershipsDeps {
  readonly follow: FollowTopics;
  readonly catchUp: TopicCatchUp;
  readonly presence: TopicPresence;
}

/** The state of one request for a topic until it is answered. */
export interface JoinAttempt {
  readonly position: TopicPosition | undefined;
  /** Redis was asked where the topic stands after the request came. */
  hasRefreshed: boolean;
  /** The log was read for it. */
  hasReadLog: boolean;
}

/** Bounds the epochs of clients' positions that are remembered; more come only from clients that invent them. */
const MAX_FOREIGN_EPOCHS = 64;

export class TopicMemberships {
  readonly #deps: MembershipsDeps;
  #count = 0;

  constructor(deps: MembershipsDeps) {
    this.#deps = deps;
  }

  /** The number of active subscriptions. */
  get count(): number {
    return this.#count;
  }

  find(connection: Connection, topic: string): Subscription | undefined {
    return topic === BROADCAST_TOPIC ? connection.broadcast : connection.subscriptions?.get(topic);
  }

  /** Adds one that is yet to be joined. */
  add(connection: Connection, topic: string): Subscription {
    const subscription = new TopicSubscription(connection, topic);
    if (topic === BROADCAST_TOPIC) connection.broadcast = subscription;
    else (connection.subscriptions ??= new Map<string, Subscription>()).set(topic, subscription);
    return subscription;
  }

  /** Queues `subscribed` and what was missed; the caller flushes. */
  join(topic: NodeTopic, subscription: Subscription, position: TopicPosition | undefined): Recovery {
    const recovery = this.#deps.catchUp.begin(topic, subscription, position);
    topic.add(subscription);
    this.#count++;
    if (topic.name !== BROADCAST_TOPIC) this.#deps.presence.joined(subscription);
    return recovery;
  }

  /** Ends it. Only presence is told. */
  leave(subscription: Subscription): void {
    const { connection, topic: name, index } = subscription;
    if (name === BROADCAST_TOPIC) connection.broadcast = undefined;
    else if (connection.subscriptions?.delete(name) === true && connection.subscriptions.size === 0) {
      connection.subscriptions = undefined;
    }
    if (index === -1) return;
    const topic = this.#deps.follow.topicOf(name);
    topic?.remove(subscription);
    this.#count--;
    if (topic === undefined) return;
    this.#deps.follow.rest(topic);
    if (name !== BROADCAST_TOPIC) this.#deps.presence.left(subscription);
  }

  /** Ends it, and tells the client if it was told that it has it. */
  end(subscription: Subscription, reason: UnsubscribedReason): void {
    const wasTold = subscription.index !== -1;
    this.leave(subscription);
    if (wasTold) subscription.connection.send({ type: "unsubscribed", topic: subscription.topic, reason });
  }

  /** Its socket is gone. */
  closed(connection: Connection): void {
    if (connection.broadcast !== undefined) this.leave(connection.broadcast);
    for (const subscription of connection.subscriptions?.values() ?? []) this.leave(subscription);
  }

  /**
   * Whether the topic can answer the request now.
   * @param waiter called once what is missing may be there, if it is not
   */
  isAnswerable(topic: NodeTopic, attempt: JoinAttempt, waiter: TopicWaiter): boolean {
    const { follow, catchUp } = this.#deps;
    const { position } = attempt;
    if (!topic.isReady) {
      if (topic.phase === "opening" && !topic.isReading) {
        // Its first read comes after this.
        attempt.hasRefreshed = true;
        if (position !== undefined) topic.wantsLog = attempt.hasReadLog = true;
      }
      topic.waiters.push(waiter);
      return false;
    }
    if (position === undefined) return true;
    if (this.#isUnknown(topic, position)) {
      if (!attempt.hasRefreshed) {
        // The client may know what has not reached this node yet.
        attempt.hasRefreshed = true;
        follow.refresh(topic);
        topic.waiters.push(waiter);
        return false;
      }
      if (position.epoch !== topic.era.epoch) this.#noteForeign(topic, position.epoch);
    }
    if (catchUp.hasAll(topic, position)) return true;
    attempt.hasReadLog = true;
    follow.awaitLog(topic, waiter);
    return false;
  }

  #isUnknown(topic: NodeTopic, { epoch, offset }: TopicPosition): boolean {
    if (epoch === topic.era.epoch) return offset > topic.offset;
    return epoch !== topic.previous?.epoch && !topic.foreignEpochs.has(epoch);
  }

  #noteForeign({ foreignEpochs }: NodeTopic, epoch: string): void {
    if (foreignEpochs.size >= MAX_FOREIGN_EPOCHS) foreignEpochs.clear();
    foreignEpochs.add(epoch);
  }
}
