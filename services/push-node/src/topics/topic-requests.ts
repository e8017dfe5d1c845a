// push-node/topics/handle-topic-frames -> here -> push-node/topics/topic-memberships: a connection's requests about
// topics.
// Guarantees: one answer each, in the order of the requests, although their topics are opened concurrently. Rights are
// checked in the turn in which the answer is given. A topic that cannot be opened in time is answered too.
import {
  encodeServerFrame,
  type ErrorFrame,
  type ServerFrame,
} from "@petrel/shared/protocol/frames/server-frames";
import { isGranted } from "@petrel/shared/protocol/topics/topic-grants";
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { Connection, Subscription } from "../connection/connection.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { FollowTopics } from "../fan-out/follow-topics.js";
import type { NodeTopic } from "../fan-out/node-topic.js";
import type { Recovery, TopicCatchUp } from "../fan-out/topic-catch-up.js";
import { refuseTopicFrame, type TopicRefusal } from "./refuse-topic-frame.js";
import type { JoinAttempt, TopicMemberships } from "./topic-memberships.js";
import type { TopicPresence } from "./topic-presence.js";

export interface TopicRequestsDeps {
  readonly memberships: TopicMemberships;
  readonly follow: FollowTopics;
  readonly catchUp: TopicCatchUp;
  readonly ruleOf: (topic: string) => TopicRule;
  readonly presence: TopicPresence;
  /** The most topics that a client may ask for; `$all` and kept ones do not count. */
  readonly maxPerConnection: number;
  /** How long an answer may take. */
  readonly timeoutMs: number;
  readonly onRecovery: (outcome: RecoveryOutcome) => void;
}

/** Where what was missed came from; `failed`: the client was told that something is missing. */
export type RecoveryOutcome = "ring" | "log" | "failed";

export interface SubscribeRequest extends JoinAttempt {
  readonly kind: "subscribe";
  readonly topic: string;
  /** undefined: unchanged */
  readonly presence: boolean | undefined;
}

export type TopicRequest =
  | SubscribeRequest
  | { readonly kind: "unsubscribe"; readonly topic: string }
  /** It was refused already. */
  | { readonly kind: "refused"; readonly answer: ErrorFrame };

interface WaitingRequest {
  readonly request: TopicRequest;
  /** When it is answered in any case, monotonic ms: requests behind one that cannot be answered do not wait again. */
  readonly dueMs: number;
  /** Opened for it, and kept open until it is answered: it may wait for another topic meanwhile. */
  readonly topic: NodeTopic | undefined;
}

interface Queue {
  readonly connection: Connection;
  readonly requests: WaitingRequest[];
  readonly onReady: () => void;
  timer: NodeJS.Timeout | undefined;
  /** The request that `timer` belongs to. */
  timed: WaitingRequest | undefined;
}

export class TopicRequests {
  readonly #deps: TopicRequestsDeps;
  /** Only connections with a waiting request. */
  readonly #queues = new Map<Connection, Queue>();

  constructor(deps: TopicRequestsDeps) {
    this.#deps = deps;
  }

  take(connection: Connection, requests: readonly TopicRequest[]): void {
    const known = this.#queues.get(connection);
    const dueMs = performance.now() + this.#deps.timeoutMs;
    const waiting = requests.map((request) => ({
      request,
      dueMs,
      topic: this.#prepare(connection, request),
    }));
    if (known !== undefined) {
      known.requests.push(...waiting);
      return;
    }
    const queue: Queue = {
      connection,
      requests: waiting,
      onReady: () => this.#advance(queue),
      timer: undefined,
      timed: undefined,
    };
    this.#queues.set(connection, queue);
    this.#advance(queue);
  }

  /** Its socket is gone. */
  closed(connection: Connection): void {
    const queue = this.#queues.get(connection);
    if (queue !== undefined) this.#drop(queue);
  }

  /** Topics are opened concurrently, although they are answered in order. */
  #prepare(connection: Connection, request: TopicRequest): NodeTopic | undefined {
    if (request.kind !== "subscribe" || this.#refusalOf(connection, request) !== undefined) return undefined;
    const topic = this.#deps.follow.open(request.topic);
    topic.requests++;
    if (topic.phase === "opening" && request.position !== undefined) topic.wantLog();
    return topic;
  }

  /** The first one is answered. */
  #shift({ requests }: Queue): void {
    const topic = requests.shift()?.topic;
    if (topic !== undefined) topic.requests--;
  }

  #drop(queue: Queue): void {
    clearTimeout(queue.timer);
    while (queue.requests.length > 0) this.#shift(queue);
    this.#queues.delete(queue.connection);
  }

  #advance(queue: Queue): void {
    const { connection, requests } = queue;
    if (this.#queues.get(connection) !== queue) return;
    for (let waiting = requests[0]; waiting !== undefined; waiting = requests[0]) {
      if (!this.#answer(connection, waiting.request, queue)) {
        this.#await(queue, waiting);
        connection.flush();
        return;
      }
      this.#shift(queue);
    }
    this.#drop(queue);
    connection.flush();
  }

  #await(queue: Queue, waiting: WaitingRequest): void {
    if (queue.timed === waiting) return;
    clearTimeout(queue.timer);
    queue.timed = waiting;
    const { request, dueMs } = waiting;
    queue.timer = setTimeout(
      () => {
        if (queue.requests[0] !== waiting || request.kind !== "subscribe") return;
        this.#shift(queue);
        this.#refuse(queue.connection, request, {
          code: "PETREL_UNAVAILABLE",
          message: "This topic cannot be opened now: try again.",
        });
        this.#advance(queue);
      },
      Math.max(0, dueMs - performance.now()),
    );
  }

  /** @returns whether it was answered; if not, the queue is called when it may be */
  #answer(connection: Connection, request: TopicRequest, queue: Queue): boolean {
    switch (request.kind) {
      case "refused":
        this.#queue(connection, request.answer);
        return true;
      case "unsubscribe":
        this.#unsubscribe(connection, request.topic);
        return true;
      case "subscribe": {
        const refusal = this.#refusalOf(connection, request);
        if (refusal !== undefined) {
          this.#refuse(connection, request, refusal);
          return true;
        }
        const topic = this.#deps.follow.open(request.topic);
        if (!this.#deps.memberships.isAnswerable(topic, request, queue)) return false;
        this.#subscribe(connection, topic, request);
        return true;
      }
    }
  }

  #refusalOf(connection: Connection, { topic, presence }: SubscribeRequest): TopicRefusal | undefined {
    const { memberships, ruleOf, maxPerConnection } = this.#deps;
    const known = memberships.find(connection, topic);
    const isKept = topic === BROADCAST_TOPIC || known?.byServer === true;
    if (!isKept && !isGranted(connection.grants, topic, "subscribe")) {
      return { code: "PETREL_FORBIDDEN", message: "The token does not allow subscribing to this topic." };
    }
    if (presence === true) {
      if (topic === BROADCAST_TOPIC || ruleOf(topic).presence === "off") {
        return { code: "PETREL_FORBIDDEN", message: "This topic has no presence." };
      }
      if (!isGranted(connection.grants, topic, "presence")) {
        return { code: "PETREL_FORBIDDEN", message: "The token does not allow this topic's presence." };
      }
    }
    if (!isKept && known?.byClient !== true && countOwn(connection) >= maxPerConnection) {
      return {
        code: "PETREL_TOO_MANY_TOPICS",
        message: `This connection already has ${maxPerConnection} topics.`,
      };
    }
    return undefined;
  }

  #subscribe(connection: Connection, topic: NodeTopic, request: SubscribeRequest): void {
    const { memberships, catchUp, presence } = this.#deps;
    const { position } = request;
    const subscription = memberships.find(connection, topic.name) ?? memberships.add(connection, topic.name);
    if (isGranted(connection.grants, topic.name, "subscribe")) subscription.byClient = true;
    if (subscription.index === -1) this.#note(memberships.join(topic, subscription, position), request);
    else {
      // Queue what it lacks of the newest first, because `subscribed` states where it continues.
      catchUp.bring(topic, subscription);
      if (position !== undefined) this.#note(catchUp.begin(topic, subscription, position), request);
      else this.#repeat(topic, subscription);
    }
    if (request.presence !== undefined && request.presence !== subscription.hasPresence) {
      subscription.hasPresence = request.presence;
      presence.watched(subscription);
    }
  }

  /** Nothing changes; states the position once more. */
  #repeat(topic: NodeTopic, { connection, lastOffset }: Subscription): void {
    this.#queue(connection, {
      type: "subscribed",
      topic: topic.name,
      epoch: topic.era.epoch,
      offset: lastOffset,
      oldest: Math.min(this.#deps.catchUp.oldestOf(topic), lastOffset + 1),
      recovered: false,
    });
  }

  #note(recovery: Recovery, { hasReadLog }: SubscribeRequest): void {
    if (recovery === "none") return;
    this.#deps.onRecovery(recovery === "failed" ? "failed" : hasReadLog ? "log" : "ring");
  }

  #unsubscribe(connection: Connection, topic: string): void {
    const { memberships } = this.#deps;
    const subscription = memberships.find(connection, topic);
    if (topic === BROADCAST_TOPIC || subscription?.byServer === true) {
      // What the client held itself, such as to resume, it holds no longer: from now on the server decides when it
      // ends.
      if (subscription !== undefined) subscription.byClient = false;
      const message = "The server keeps this topic for you: you cannot leave it.";
      this.#queue(connection, refuseTopicFrame("unsubscribe", topic, { code: "PETREL_CONFLICT", message }));
      return;
    }
    if (subscription !== undefined) memberships.leave(subscription);
    this.#queue(connection, { type: "unsubscribed", topic });
  }

  #refuse(connection: Connection, { topic }: SubscribeRequest, refusal: TopicRefusal): void {
    this.#queue(connection, refuseTopicFrame("subscribe", topic, refusal));
  }

  #queue(connection: Connection, frame: ServerFrame): void {
    connection.queue(encodeTextFrame(encodeServerFrame(frame)));
  }
}

/** Topics that only the client wants. */
function countOwn({ subscriptions }: Connection): number {
  let count = 0;
  for (const { byServer } of subscriptions?.values() ?? []) if (!byServer) count++;
  return count;
}
