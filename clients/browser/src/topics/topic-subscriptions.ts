// client -> here -> topic-stream: all topics of a client, and their frames on the open connection.
// Guarantees: handles live as long as the application wants them, across connections. Those of one topic share one
// subscription. After a welcome all of them are requested in as few frames as possible.
import { PetrelClientError } from "../client-error.js";
import type { ClientTiming } from "../client-timing.js";
import type { TopicConnection } from "./topic-connection.js";
import { failuresOf, type HandlerWatch } from "../delivery/handler-watch.js";
import type { ErrorFrame, ServerFrame, SubscribeEntry, TopicPosition, WelcomeFrame } from "../frames.js";
import { TopicConsumer } from "./topic-consumer.js";
import {
  BROADCAST_TOPIC,
  checkTopic,
  checkTopicOptions,
  type TopicHandle,
  type TopicMessage,
  type TopicOptions,
} from "./topic-options.js";
import { TopicPublisher } from "./topic-publisher.js";
import { TopicStream } from "./topic-stream.js";

export interface SubscriptionsOptions {
  readonly timing: ClientTiming;
  readonly watch: HandlerWatch;
  readonly report: (error: PetrelClientError) => void;
  /** For a wrong option that is dropped. */
  readonly complain: (problem: string) => void;
  /** Whether anyone listens for messages without a handle. */
  readonly hasListeners: () => boolean;
  /** @returns the errors of the listeners that failed */
  readonly deliver: (message: TopicMessage) => Promise<readonly unknown[]>;
}

/** Per frame. */
const MAX_ENTRIES = 100;

export class TopicSubscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #streams = new Map<string, TopicStream>();
  readonly #changed = new Set<TopicStream>();
  #connection: TopicConnection | undefined;
  readonly publisher: TopicPublisher;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.publisher = new TopicPublisher(options.timing.publishTimeoutMs);
  }

  /** Where to resume the broadcast; undefined if nobody listens to it. */
  get broadcastPosition(): TopicPosition | undefined {
    const stream = this.#streams.get(BROADCAST_TOPIC);
    if (stream === undefined || !(stream.hasHandles || this.#options.hasListeners())) return undefined;
    return stream.resumeAfter;
  }

  /** @throws TypeError if an option is wrong */
  subscribe<Data, State>(topic: string, options: TopicOptions<Data, State>): TopicHandle {
    checkTopic("subscribe", topic, { broadcast: true });
    const start = checkTopicOptions(options, this.#options.complain);
    const { onMessage } = options;
    const stream = this.#streamOf(topic);
    const consumer = new TopicConsumer({
      ...this.#consumerOptions(stream),
      // The type of the data is the application's claim and cannot be checked here.
      options: options as TopicOptions,
      start,
      deliver: (message) => failuresOf(() => onMessage?.(message as TopicMessage<Data>)),
    });
    stream.add(consumer);
    let isOpen = true;
    return {
      topic,
      get state() {
        return consumer.state;
      },
      get error() {
        return consumer.error;
      },
      get position() {
        return consumer.handled;
      },
      get presence() {
        return consumer.presence;
      },
      // Its own message must come back to it, as to all others.
      publish: (data, publishOptions) =>
        this.publisher.publish(topic, data, publishOptions, () => consumer.hasPlace),
      unsubscribe: () => {
        if (!isOpen) return;
        isOpen = false;
        consumer.close();
        stream.remove(consumer);
      },
    };
  }

  /** A connection was welcomed. */
  adopt(connection: TopicConnection, welcome: WelcomeFrame): void {
    if (!welcome.features.includes("topics")) {
      this.#connection = undefined;
      this.#hasNoTopics();
    } else {
      this.#connection = connection;
      for (const stream of this.#streams.values()) {
        stream.adopt(connection.broadcast);
        this.#changed.add(stream);
      }
      this.#flush();
    }
    this.publisher.adopt(connection, welcome);
  }

  /** There is no connection any more. */
  leave(): void {
    this.#connection = undefined;
    this.publisher.leave();
    for (const stream of this.#streams.values()) stream.leave();
  }

  stop(): void {
    this.leave();
    this.publisher.stop();
    for (const stream of this.#streams.values()) stream.stop();
  }

  start(): void {
    this.publisher.start();
    for (const stream of this.#streams.values()) stream.start();
  }

  receive(connection: TopicConnection, frame: ServerFrame): void {
    if (frame.type === "published") this.publisher.published(frame);
    if (connection !== this.#connection) return;
    switch (frame.type) {
      case "subscribed":
        this.#streamOf(frame.topic).subscribed(frame);
        return;
      case "topic_message":
        this.#streams.get(frame.topic)?.message(frame);
        return;
      case "presence":
        this.#streams.get(frame.topic)?.presence(frame);
        return;
      case "unsubscribed":
        this.#streams.get(frame.topic)?.unsubscribed(frame);
        return;
      case "token_accepted":
        for (const stream of this.#streams.values()) stream.forgive();
        return;
      default:
        return;
    }
  }

  /** An `error` that answers a frame. @returns whether it concerned a topic */
  refused(connection: TopicConnection, frame: ErrorFrame): boolean {
    if (frame.on === "publish") this.publisher.refused(frame);
    else if (frame.on !== "subscribe" && frame.on !== "unsubscribe") return false;
    else if (connection === this.#connection) this.#streams.get(frame.ref ?? "")?.refused(frame);
    return true;
  }

  /** During an upgrade: a node of an older release. */
  #hasNoTopics(): void {
    const text = "This push node has no topics yet.";
    const error = new PetrelClientError("PETREL_NOT_IMPLEMENTED", text, { retryable: true });
    for (const stream of this.#streams.values()) {
      stream.leave();
      stream.refuseAll(error);
    }
  }

  #streamOf(topic: string): TopicStream {
    const known = this.#streams.get(topic);
    if (known !== undefined) return known;
    const stream = new TopicStream({
      topic,
      answerTimeoutMs: this.#options.timing.subscribeTimeoutMs,
      withoutHandle: (one) => this.#listenersOf(one),
      changed: (one) => this.#hasChanged(one),
    });
    this.#streams.set(topic, stream);
    return stream;
  }

  /** Passes messages without a handle to the listeners for `topic`. */
  #listenersOf(stream: TopicStream): TopicConsumer {
    return new TopicConsumer({
      ...this.#consumerOptions(stream),
      options: {},
      start: undefined,
      isMuted: () => !stream.isForListeners || !this.#options.hasListeners(),
      deliver: this.#options.deliver,
    });
  }

  #consumerOptions(stream: TopicStream) {
    const { timing, watch, report } = this.#options;
    return { topic: stream.topic, timing, watch, report, changed: () => this.#hasChanged(stream) };
  }

  /** Requests of one turn share one frame. */
  #hasChanged(stream: TopicStream): void {
    this.#changed.add(stream);
    if (this.#changed.size === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const stream of changed) if (stream.isOver) this.#streams.delete(stream.topic);
    const connection = this.#connection;
    if (connection === undefined) return;
    const subscribe: SubscribeEntry[] = [];
    const unsubscribe: { readonly topic: string }[] = [];
    for (const stream of changed) {
      const request = stream.next();
      if (request?.type === "subscribe") subscribe.push(request.entry);
      else if (request !== undefined) unsubscribe.push(request.entry);
    }
    for (const topics of inGroups(unsubscribe)) connection.send({ type: "unsubscribe", topics });
    for (const topics of inGroups(subscribe)) connection.send({ type: "subscribe", topics });
    this.publisher.resume();
  }
}

function* inGroups<Entry>(entries: readonly Entry[]): Generator<readonly Entry[], void> {
  for (let i = 0; i < entries.length; i += MAX_ENTRIES) yield entries.slice(i, i + MAX_ENTRIES);
}
