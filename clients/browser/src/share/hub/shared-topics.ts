// upstream -> here -> topics: the topics of all tabs, on one connection: subscribed once, and passed on to the tabs
// that asked.
// Guarantees: each tab's socket gets what a push node would send it: its own answer, then everything after its
// position.
import type { PetrelClientError } from "../../client-error.js";
import { defaultTiming } from "../../client-timing.js";
import { HandlerWatch } from "../../delivery/handler-watch.js";
import type {
  ClientFrame,
  ErrorFrame,
  PublishedFrame,
  ServerFrame,
  TopicPosition,
  WelcomeFrame,
} from "../../frames.js";
import type { TopicConnection } from "../../topics/topic-connection.js";
import { BROADCAST_TOPIC, type TopicHandle, type TopicPresence } from "../../topics/topic-options.js";
import { TopicSubscriptions } from "../../topics/topic-subscriptions.js";

type Fields = Readonly<Record<string, unknown>>;

export interface SharedTopicsOptions {
  readonly send: (frame: ClientFrame | Fields) => boolean;
  readonly say: (to: readonly string[], frame: Fields) => void;
}

/** One tab's subscription to one topic. */
interface Subscription {
  readonly handle: TopicHandle;
  /** The server keeps it for the user; no tab has asked for it. */
  readonly isKept: boolean;
}

export class SharedTopics {
  readonly #options: SharedTopicsOptions;
  readonly #all: TopicSubscriptions;
  /** By socket, then by topic. */
  readonly #sockets = new Map<string, Map<string, Subscription>>();
  /** Topics that the server keeps for the user. */
  readonly #kept = new Set<string>();
  #connection: TopicConnection | undefined;

  constructor(options: SharedTopicsOptions) {
    this.#options = options;
    const nothing = (): undefined => undefined;
    this.#all = new TopicSubscriptions({
      timing: defaultTiming,
      watch: new HandlerWatch(defaultTiming.handlerWarningMs, nothing),
      report: nothing,
      complain: nothing,
      hasListeners: () => false,
      deliver: () => Promise.resolve([]),
    });
    this.#all.start();
  }

  /** @param all the broadcast's position in the address, as `EPOCH:OFFSET` */
  adopt(welcome: WelcomeFrame, all: string | undefined): void {
    const [, epoch = "", offset = ""] = /^(.*):(\d+)$/.exec(all ?? "") ?? [];
    const broadcast = epoch === "" ? undefined : { epoch, offset: Number(offset) };
    this.#connection = { broadcast, send: (frame) => this.#options.send(frame) };
    this.#all.adopt(this.#connection, welcome);
  }

  /** A tab's socket was welcomed: it gets everything that comes without asking. */
  join(socket: string, broadcast: TopicPosition | undefined): void {
    this.#sockets.set(socket, new Map());
    this.#add(socket, BROADCAST_TOPIC, { ...broadcast }, true);
    for (const topic of this.#kept) this.#add(socket, topic, {}, true);
  }

  leave(socket: string): void {
    for (const { handle } of this.#sockets.get(socket)?.values() ?? []) handle.unsubscribe();
    this.#sockets.delete(socket);
  }

  stop(): void {
    this.#connection = undefined;
    this.#all.stop();
    this.#sockets.clear();
  }

  /** A frame of a tab. */
  receive(socket: string, frame: Fields): void {
    const topics = Array.isArray(frame["topics"]) ? (frame["topics"] as readonly Fields[]) : [];
    if (frame["type"] === "publish") {
      // Two tabs may use the same ref.
      this.#options.send({ ...frame, ref: `${String(frame["ref"])}@${socket}` });
    } else if (frame["type"] === "subscribe") {
      for (const entry of topics) this.#add(socket, String(entry["topic"]), entry, false);
    } else if (frame["type"] === "unsubscribe") {
      for (const { topic } of topics) this.#remove(socket, String(topic));
    }
  }

  /** A frame of the server. */
  take(frame: ServerFrame, text: string): void {
    if (frame.type === "published") {
      this.#published(frame);
      return;
    }
    if (frame.type === "unsubscribed" && frame.reason !== undefined) {
      this.#kept.delete(frame.topic);
      const to = [...this.#sockets].filter(([, topics]) => topics.has(frame.topic));
      for (const [, topics] of to) {
        topics.get(frame.topic)?.handle.unsubscribe();
        topics.delete(frame.topic);
      }
      this.#options.say(
        to.map(([socket]) => socket),
        JSON.parse(text) as Fields,
      );
    }
    const connection = this.#connection;
    if (connection === undefined) return;
    const isUnasked = frame.type === "subscribed" && !this.#isWanted(frame.topic);
    this.#all.receive(connection, frame);
    if (isUnasked) this.#keep(frame.topic);
  }

  /** @returns whether it concerned a topic */
  refused(frame: ErrorFrame): boolean {
    const { on, ref = "" } = frame;
    const at = ref.indexOf("@");
    if (on === "publish" && at !== -1) {
      this.#options.say([ref.slice(at + 1)], { ...frame, ref: ref.slice(0, at) });
      return true;
    }
    const connection = this.#connection;
    if (connection === undefined || !this.#all.refused(connection, frame)) return false;
    // The tabs have unsubscribed, but the server keeps it.
    if (on === "unsubscribe" && frame.action !== "backoff") this.#keep(ref);
    return true;
  }

  #published({ type, ref, id, topic, epoch, offset, duplicate }: PublishedFrame): void {
    const at = ref.indexOf("@");
    const frame = { type, ref: ref.slice(0, at), id, topic, epoch, offset, duplicate };
    if (at !== -1) this.#options.say([ref.slice(at + 1)], frame);
  }

  #isWanted(topic: string): boolean {
    return [...this.#sockets.values()].some((topics) => topics.has(topic));
  }

  #keep(topic: string): void {
    if (topic === BROADCAST_TOPIC || this.#kept.has(topic)) return;
    this.#kept.add(topic);
    for (const [socket, topics] of this.#sockets) {
      if (!topics.has(topic)) this.#add(socket, topic, {}, true);
    }
  }

  /** @param entry of a `subscribe`: its position, and whether it wants presence */
  #add(socket: string, topic: string, entry: Fields, isKept: boolean): void {
    const topics = this.#sockets.get(socket);
    if (topics === undefined) return;
    const { epoch, offset, presence } = entry;
    const say = (frame: Fields): void => {
      // It may have been replaced while this waited for its turn.
      if (topics.get(topic)?.handle === handle || handle === undefined) this.#options.say([socket], frame);
    };
    const before = topics.get(topic);
    let handle: TopicHandle | undefined;
    let isSubscribed = false;
    let here: TopicPresence | undefined;
    try {
      handle = this.#all.subscribe(topic, {
        from: typeof epoch === "string" && typeof offset === "number" ? { epoch, offset } : null,
        presence: presence === true,
        onMessage: ({ epoch: _epoch, ...fields }) => say({ type: "message", ...fields }),
        onSubscribed: (subscribed) => {
          say({ type: "subscribed", ...subscribed });
          isSubscribed = true;
          if (here !== undefined) say({ type: "presence", ...here });
          here = undefined;
        },
        // `onSubscribed` reports it, too.
        onLost: () => undefined,
        onPresence: (now) => {
          // As at a push node: before its answer a tab gets nothing of the topic.
          if (isSubscribed) say({ type: "presence", ...now });
          else here = now;
        },
        onError: ({ code, message, retryable }: PetrelClientError) => {
          say(refusal("subscribe", topic, code, message, retryable ? "backoff" : "none"));
          // As at a push node: the tab asks again.
          if (topics.get(topic)?.handle === handle) topics.delete(topic);
          handle?.unsubscribe();
        },
      });
    } catch (error) {
      const { message } = error as Error;
      this.#options.say([socket], refusal("subscribe", topic, "PETREL_INVALID_REQUEST", message, "none"));
      return;
    }
    topics.set(topic, { handle, isKept: isKept || before?.isKept === true });
    // Afterwards, so that the subscription never ends in between.
    before?.handle.unsubscribe();
  }

  #remove(socket: string, topic: string): void {
    const topics = this.#sockets.get(socket);
    const subscription = topics?.get(topic);
    if (subscription?.isKept === true) {
      const text = "The server keeps this subscription.";
      this.#options.say([socket], refusal("unsubscribe", topic, "PETREL_CONFLICT", text, "none"));
      return;
    }
    topics?.delete(topic);
    subscription?.handle.unsubscribe();
    this.#options.say([socket], { type: "unsubscribed", topic });
  }
}

function refusal(on: string, ref: string, code: string, message: string, action: string): Fields {
  return { type: "error", code, message, action, on, ref };
}
