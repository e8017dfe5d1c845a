// The application -> here -> topic-subscriptions: an application's options for a topic, and what it gets.
// Guarantees: an impossible name, and a handler that is not a function, are refused where they are passed.
import { shown, type Complain } from "../check-options.js";
import type { PetrelClientError } from "../client-error.js";
import type { TopicPosition } from "../frames.js";

/** The broadcast's topic: every connection has it. */
export const BROADCAST_TOPIC = "$all";

/** A topic message as the application gets it. */
export interface TopicMessage<Data = unknown> {
  readonly topic: string;
  /** The same for all copies of a message. */
  readonly id: string;
  /** Numbers are comparable within one epoch only. */
  readonly epoch: string;
  /** Strictly rising; a missing number belongs to a message that has expired. */
  readonly offset: number;
  /** When it was published, RFC 3339 in UTC. */
  readonly at: string;
  /** The user whose client published it; absent if a business system did. */
  readonly from?: string;
  readonly data: Data;
}

export interface TopicPresence {
  readonly topic: string;
  readonly users: number;
  readonly connections: number;
  /** All of them, if the topic's rule allows it and at most 200 are there. */
  readonly here?: readonly string[];
}

export interface TopicSubscribed {
  readonly topic: string;
  readonly epoch: string;
  /** The newest message of the topic. */
  readonly offset: number;
  /** The oldest one that is kept; `offset + 1` if there is none. */
  readonly oldest: number;
  /** Whether this continues without a gap from an earlier position. */
  readonly recovered: boolean;
}

export interface TopicLost {
  readonly topic: string;
  /** The last one that was received before the gap. */
  readonly after: TopicPosition;
  /** Where it continues: the next message has a greater offset. */
  readonly position: TopicPosition;
  /** The oldest message that is kept. */
  readonly oldest: number;
}

/** `epoch: null` belongs to a topic that nothing was published to. */
export interface StartPosition {
  readonly epoch: string | null;
  readonly offset: number;
}

/** `subscribing`: no answer yet, or no connection · `refused`: see `error` · `closed`: unsubscribed */
export type TopicState = "subscribing" | "subscribed" | "refused" | "closed";

/**
 * All of a topic's callbacks except `onPresence` and `onError` are called one after the other, in the order of events;
 * each waits for the promise of the previous one.
 */
export interface TopicOptions<Data = unknown, State = unknown> {
  readonly onMessage?: ((message: TopicMessage<Data>) => unknown) | undefined;
  /** Who is there; called when that has changed, at most once a second. Needs the right `presence`. */
  readonly onPresence?: ((presence: TopicPresence) => unknown) | undefined;
  /** Called after the first `subscribe` and after each further one. */
  readonly onSubscribed?: ((subscribed: TopicSubscribed) => unknown) | undefined;
  /** Messages were missed and are gone. Without it, this is an `error` of the client. */
  readonly onLost?: ((lost: TopicLost) => unknown) | undefined;
  /** The server refuses the subscription. Without it, this is an `error` of the client. */
  readonly onError?: ((error: PetrelClientError) => unknown) | undefined;
  /** Default true: after a reconnect it continues where it was. With false it continues with new messages. */
  readonly recover?: boolean | undefined;
  /** Default: true if there is an `onPresence`. */
  readonly presence?: boolean | undefined;
  /** Default: new messages only. `oldest`: also everything that is kept. */
  readonly from?: StartPosition | "oldest" | null | undefined;
  /**
   * Returns the application's state, and the position up to which it includes the topic's messages. Called at the start
   * and again after a loss; the messages after that position follow.
   */
  readonly getState?: (() => GivenState<State> | PromiseLike<GivenState<State>>) | undefined;
  /** Gets the result of `getState`, once it is certain that the messages after it will come. */
  readonly onState?: ((state: State, position: StartPosition) => unknown) | undefined;
}

export interface GivenState<State> {
  readonly state: State;
  readonly position: StartPosition;
}

export interface PublishOptions {
  /** Makes a repetition safe, for 24 h; by default one is generated for this call. */
  readonly idempotencyKey?: string | undefined;
}

export interface PublishedMessage {
  readonly id: string;
  readonly epoch: string;
  readonly offset: number;
  /** Whether a message with this idempotency key had been published before: this is that message. */
  readonly duplicate: boolean;
}

export interface TopicHandle {
  readonly topic: string;
  readonly state: TopicState;
  /** Why it is refused. */
  readonly error: PetrelClientError | undefined;
  /** Everything up to here was handled: store it, and pass it as `from` later. */
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
  throw new TypeError(`${call}: ${shown(topic)} is not a topic's name`);
}

/**
 * @param complain called for an invalid `from`: it was probably stored by an older page
 * @returns where to start
 * @throws TypeError
 */
export function checkTopicOptions<Data, State>(
  options: TopicOptions<Data, State>,
  complain: Complain,
): StartPosition | "oldest" | undefined {
  // Possible in JavaScript.
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
  complain(`subscribe: from: ${shown(from)} is not a position: the topic starts with new messages`);
  return undefined;
}

export function isStartPosition(given: unknown): given is StartPosition {
  const { epoch, offset } = (given ?? {}) as Partial<Record<string, unknown>>;
  // The form that a push node accepts.
  const isEpoch = epoch === null || (typeof epoch === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(epoch));
  return isEpoch && typeof offset === "number" && Number.isSafeInteger(offset) && offset >= 0;
}
