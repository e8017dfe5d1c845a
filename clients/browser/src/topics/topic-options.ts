// The application -> here -> topic-subscriptions: what it says of a topic, and what it gets.
// Guarantees: a name that no topic can have, and a handler that is none, are refused where they are passed.
import { shown, type Complain } from "../check-options.js";
import type { PetrelClientError } from "../client-error.js";
import type { TopicPosition } from "../frames.js";

/** The broadcast's topic: every connection has it. */
export const BROADCAST_TOPIC = "$all";

/** What an application gets of a topic. */
export interface TopicMessage<Data = unknown> {
  readonly topic: string;
  /** The same for all copies of a message. */
  readonly id: string;
  /** Numbers compare within one epoch. */
  readonly epoch: string;
  /** Strictly rising; a number that is missing belongs to a message that has expired. */
  readonly offset: number;
  /** When it was published, RFC 3339 in UTC. */
  readonly at: string;
  /** The user whose client published it; absent where a business system did. */
  readonly from?: string;
  readonly data: Data;
}

export interface TopicPresence {
  readonly topic: string;
  readonly users: number;
  readonly connections: number;
  /** All of them, where the topic's rule says so and at most 200 are there. */
  readonly here?: readonly string[];
}

export interface TopicSubscribed {
  readonly topic: string;
  readonly epoch: string;
  /** The newest message of the topic. */
  readonly offset: number;
  /** The oldest that is kept; `offset + 1` where none is. */
  readonly oldest: number;
  /** Whether this goes on without a hole from an earlier position. */
  readonly recovered: boolean;
}

export interface TopicLost {
  readonly topic: string;
  /** The last one that was received before the hole. */
  readonly after: TopicPosition;
  /** Where it goes on: the next message has a greater offset. */
  readonly position: TopicPosition;
  /** The oldest message that is kept. */
  readonly oldest: number;
}

/** `epoch: null` is that of a topic that nothing was published to. */
export interface StartPosition {
  readonly epoch: string | null;
  readonly offset: number;
}

/** `subscribing`: no answer yet, or no connection · `refused`: see `error` · `closed`: unsubscribed */
export type TopicState = "subscribing" | "subscribed" | "refused" | "closed";

/**
 * All of a topic's callbacks but `onPresence` and `onError` are called one after the other, in the order in which things
 * happened; the next waits for the promise of the one before.
 */
export interface TopicOptions<Data = unknown, State = unknown> {
  readonly onMessage?: ((message: TopicMessage<Data>) => unknown) | undefined;
  /** Who is there, at most once a second when it has changed. Needs the right `presence`. */
  readonly onPresence?: ((presence: TopicPresence) => unknown) | undefined;
  /** After the first `subscribe` and after every further one. */
  readonly onSubscribed?: ((subscribed: TopicSubscribed) => unknown) | undefined;
  /** Messages were missed and can't be had any more. Without it, this is an `error` of the client. */
  readonly onLost?: ((lost: TopicLost) => unknown) | undefined;
  /** The server refuses the subscription. Without it, this is an `error` of the client. */
  readonly onError?: ((error: PetrelClientError) => unknown) | undefined;
  /** Default true: after a reconnect it goes on where it was. With false it goes on with what is new. */
  readonly recover?: boolean | undefined;
  /** Default: where there is `onPresence`. */
  readonly presence?: boolean | undefined;
  /** Default: what is new. `oldest`: all that is kept, too. */
  readonly from?: StartPosition | "oldest" | null | undefined;
  /**
   * Gives the application's state, and the position up to which it holds the topic's messages. It is asked at the start and
   * again after a loss; the messages that follow are those after that position.
   */
  readonly getState?: (() => GivenState<State> | PromiseLike<GivenState<State>>) | undefined;
  /** Takes what `getState` gave, once it is known that the messages after it will come. */
  readonly onState?: ((state: State, position: StartPosition) => unknown) | undefined;
}

export interface GivenState<State> {
  readonly state: State;
  readonly position: StartPosition;
}

export interface PublishOptions {
  /** What makes a repetition safe, for 24 h; by default one that is made for this call. */
  readonly idempotencyKey?: string | undefined;
}

export interface PublishedMessage {
  readonly id: string;
  readonly epoch: string;
  readonly offset: number;
  /** Whether a message with this idempotency key had been published before: this is that one. */
  readonly duplicate: boolean;
}

export interface TopicHandle {
  readonly topic: string;
  readonly state: TopicState;
  /** Why it is refused. */
  readonly error: PetrelClientError | undefined;
  /** Everything up to here was handled: what to keep, and to pass as `from` later. */
  readonly position: TopicPosition | undefined;
  /** The newest that is known. */
  readonly presence: TopicPresence | undefined;
  /** @throws PetrelClientError, see `PetrelClient.publish` */
  readonly publish: (data: unknown, options?: PublishOptions) => Promise<PublishedMessage>;
  /** No callback starts after this. */
  readonly unsubscribe: () => void;
}

const callbackNames = [
  "onMessage",
  "onPresence",
  "onSubscribed",
  "onLost",
  "onError",
  "getState",
  "onState",
] as const;
const otherNames = ["recover", "presence", "from"] as const;
const optionNames: ReadonlySet<string> = new Set([...callbackNames, ...otherNames]);

/** @throws TypeError */
export function checkTopic(
  call: string,
  topic: unknown,
  { broadcast }: { readonly broadcast: boolean },
): void {
  if (broadcast && topic === BROADCAST_TOPIC) return;
  if (typeof topic === "string" && /^[A-Za-z0-9._:@|~+=-]{1,128}$/.test(topic)) return;
  throw new TypeError(`${call}: ${shown(topic)} is no topic's name`);
}

/**
 * @param complain told of a `from` that is none: it has mostly been kept by an older page
 * @returns where to start
 * @throws TypeError
 */
export function checkTopicOptions<Data, State>(
  options: TopicOptions<Data, State>,
  complain: Complain,
): StartPosition | "oldest" | undefined {
  // Of JavaScript.
  if (typeof options !== "object" || (options as unknown) === null) {
    throw new TypeError("subscribe: options are needed");
  }
  for (const name of Object.keys(options)) {
    if (!optionNames.has(name)) throw new TypeError(`subscribe: there is no option ${name}`);
  }
  for (const name of callbackNames) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw new TypeError(`subscribe: ${name}: a function is needed`);
    }
  }
  const { from, getState } = options;
  if (from === undefined || from === null) return undefined;
  if (getState !== undefined) throw new TypeError("subscribe: either from or getState");
  if (from === "oldest" || isStartPosition(from)) return from;
  complain(`subscribe: from: ${shown(from)} is no position: the topic starts with what is new`);
  return undefined;
}

export function isStartPosition(given: unknown): given is StartPosition {
  const { epoch, offset } = (given ?? {}) as Partial<Record<string, unknown>>;
  // As a push node takes them.
  const isEpoch = epoch === null || (typeof epoch === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(epoch));
  return isEpoch && typeof offset === "number" && Number.isSafeInteger(offset) && offset >= 0;
}
