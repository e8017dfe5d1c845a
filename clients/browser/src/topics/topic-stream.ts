// topic-subscriptions -> here -> topic-consumer: one topic's subscription on the open connection, for all its handles.
// Guarantees: one request at a time, so that an answer is unambiguous. The server sends from the lowest position that a
// handle needs, and a handle whose position was not served asks again.
import { PetrelClientError } from "../client-error.js";
import type {
  ErrorFrame,
  PresenceFrame,
  SubscribedFrame,
  SubscribeEntry,
  TopicMessageFrame,
  TopicPosition,
  UnsubscribedFrame,
} from "../frames.js";
import type { TopicConsumer } from "./topic-consumer.js";
import { BROADCAST_TOPIC, type TopicPresence } from "./topic-options.js";
import { isAnswerTo, isKnown, lowestOf } from "./topic-position.js";
import { TopicQuestion } from "./topic-question.js";

export interface StreamOptions {
  readonly topic: string;
  /** Gets what arrives while there is no handle: for a topic that the server keeps, and for the broadcast. */
  readonly withoutHandle: (stream: TopicStream) => TopicConsumer;
  /** After this long a request is repeated. */
  readonly answerTimeoutMs: number;
  /** There may be something to send to the server: the owner calls `next`. */
  readonly changed: (stream: TopicStream) => void;
}

export type TopicRequest =
  | { readonly type: "subscribe"; readonly entry: SubscribeEntry }
  | { readonly type: "unsubscribe"; readonly entry: { readonly topic: string } };

export class TopicStream {
  readonly topic: string;
  readonly #options: StreamOptions;
  readonly #handles = new Set<TopicConsumer>();
  readonly #withoutHandle: TopicConsumer;
  readonly #question: TopicQuestion;
  /** The server's last answer, and the newest position that it has sent since; undefined if it sends nothing. */
  #answer: SubscribedFrame | undefined;
  #newest: TopicPosition | undefined;
  #epoch: string | undefined;
  /** The subscription is the client's own, besides one that the server may keep. */
  #isOwn = false;
  /** It comes without asking: the server keeps it for the user, or it is the broadcast. */
  #isKept = false;
  #hasPresence = false;
  #presence: TopicPresence | undefined;

  constructor(options: StreamOptions) {
    this.topic = options.topic;
    this.#options = options;
    this.#question = new TopicQuestion(options.answerTimeoutMs, () => options.changed(this));
    this.#withoutHandle = options.withoutHandle(this);
  }

  get hasHandles(): boolean {
    return this.#handles.size > 0;
  }

  /** Whether messages go to `topic` listeners. */
  get isForListeners(): boolean {
    return this.#isKept && !this.hasHandles;
  }

  /** Nobody needs it, and the server sends nothing for it. */
  get isOver(): boolean {
    return (
      !this.hasHandles && !this.#isKept && this.#question.asked === undefined && this.#answer === undefined
    );
  }

  /** Where to resume the broadcast at the next connection. */
  get resumeAfter(): TopicPosition | undefined {
    const consumers = this.hasHandles ? [...this.#handles] : [this.#withoutHandle];
    return this.#lowest(consumers);
  }

  add(handle: TopicConsumer): void {
    this.#handles.add(handle);
    if (this.#answer !== undefined && this.#newest !== undefined && handle.startsAnywhere) {
      handle.joinAt(this.#newest, this.#answer);
      if (this.#presence !== undefined) handle.seePresence(this.#presence);
    }
    this.#options.changed(this);
  }

  remove(handle: TopicConsumer): void {
    this.#handles.delete(handle);
    this.#options.changed(this);
  }

  /** A connection was welcomed. @param broadcast the position that was in its address */
  adopt(broadcast: TopicPosition | undefined): void {
    this.#reset();
    // It comes without asking, as an answer to the address.
    if (this.topic === BROADCAST_TOPIC)
      this.#question.ask({ type: "subscribe", given: broadcast, presence: false, isAlone: true });
  }

  /** The connection is gone. */
  leave(): void {
    this.#reset();
  }

  stop(): void {
    this.#reset();
    for (const consumer of this.#all()) consumer.stop();
  }

  start(): void {
    for (const consumer of this.#all()) consumer.start();
  }

  /** The token has changed. */
  forgive(): void {
    for (const handle of this.#handles) handle.forgive();
    this.#options.changed(this);
  }

  refuseAll(error: PetrelClientError): void {
    for (const handle of this.#handles) handle.refuse(error);
  }

  /** The next request for the server; its answer is then awaited. */
  next(): TopicRequest | undefined {
    if (!this.#question.mayAsk) return undefined;
    const { topic } = this;
    for (const handle of this.#handles) handle.prepare();
    const ready = [...this.#all()].filter((consumer) => consumer.isReady);
    // What the server keeps comes without asking; only what was missed is requested.
    const missing = ready.filter(
      (consumer) => !consumer.isLive && (consumer !== this.#withoutHandle || this.#answer !== undefined),
    );
    const presence = [...this.#handles].some((handle) => handle.wantsPresence);
    const isSwitched = this.hasHandles && this.#answer !== undefined && presence !== this.#hasPresence;
    const isNeeded = missing.length > 0 || isSwitched;
    if (isNeeded && !this.#question.isDoubtful) {
      const given = this.#positionFor(missing, ready);
      this.#question.subscribe(given, presence);
      return {
        type: "subscribe",
        entry: { topic, ...given, ...(presence || this.#hasPresence ? { presence } : {}) },
      };
    }
    // The answer to this one is unambiguous, and comes after all others.
    if (isNeeded || (this.#isOwn && !this.hasHandles)) {
      this.#question.ask({ type: "unsubscribe" });
      return { type: "unsubscribe", entry: { topic } };
    }
    return undefined;
  }

  subscribed(frame: SubscribedFrame): void {
    const current = this.#question.asked;
    const asked = current?.type === "subscribe" ? current : undefined;
    const isAnswer = asked !== undefined && isAnswerTo(asked.given, frame);
    // The epoch has changed while an answer was awaited: this is that answer, or news from before it.
    const isNews = this.#answer !== undefined && this.#answer.epoch !== frame.epoch;
    const isBehind = asked?.given !== undefined && !isKnown(asked.given, frame);
    const isUnsure = frame.recovered && isNews && asked?.isAlone !== true;
    if (asked !== undefined && (frame.recovered ? isUnsure : isBehind)) this.#question.doubt();
    if (isAnswer) {
      this.#question.answered();
      this.#hasPresence = asked.presence;
      if (!asked.presence) this.#presence = undefined;
      this.#isOwn = this.topic !== BROADCAST_TOPIC;
    }
    if (!isAnswer || this.topic === BROADCAST_TOPIC) this.#isKept = true;
    const given = isAnswer && !isUnsure ? asked.given : undefined;
    const newest = this.#newest;
    this.#answer = frame;
    this.#epoch = frame.epoch;
    this.#newest = {
      epoch: frame.epoch,
      offset: newest?.epoch === frame.epoch ? Math.max(newest.offset, frame.offset) : frame.offset,
    };
    for (const consumer of this.#all()) {
      // The answer that it waits for is still to come.
      if (asked !== undefined && !isAnswer && !consumer.isLive) continue;
      const wasLive = consumer.isLive;
      consumer.place(frame, given);
      // The server sends it once per connection.
      if (!wasLive && consumer.isLive && this.#presence !== undefined) consumer.seePresence(this.#presence);
    }
    this.#options.changed(this);
  }

  message(frame: TopicMessageFrame): void {
    const newest = this.#newest;
    // For a subscription that has ended.
    if (newest === undefined) return;
    if (frame.offset > newest.offset) this.#newest = { epoch: newest.epoch, offset: frame.offset };
    for (const consumer of this.#all()) consumer.take(frame, newest.epoch);
  }

  presence({ type: _type, ...presence }: PresenceFrame): void {
    if (this.#answer === undefined) return;
    this.#presence = presence;
    for (const handle of this.#handles) if (handle.isLive) handle.seePresence(presence);
  }

  unsubscribed({ reason }: UnsubscribedFrame): void {
    if (reason === undefined && this.#question.asked?.type === "unsubscribe") {
      this.#question.settled();
      this.#question.allAnswered();
    }
    this.#ended();
    this.#isKept = false;
    for (const consumer of this.#all()) consumer.leave();
    if (reason !== undefined && reason !== "removed") {
      const text = `${this.topic}: the server has ended the subscription: ${reason}`;
      const code = reason === "forbidden" ? "PETREL_FORBIDDEN" : "PETREL_CONFLICT";
      this.refuseAll(new PetrelClientError(code, text, { retryable: false, topic: this.topic }));
    }
    this.#options.changed(this);
  }

  /** An `error` with `on`, about this topic. */
  refused(frame: ErrorFrame): void {
    const { asked } = this.#question;
    if (asked === undefined || asked.type !== frame.on) return;
    this.#question.settled();
    if (frame.action === "backoff") this.#question.wait();
    if (asked.type === "subscribe") this.#notSubscribed(asked.presence, frame);
    else if (!this.#question.isWaiting) {
      // The server keeps it.
      this.#isOwn = false;
      this.#isKept = true;
      this.#question.allAnswered();
    }
    this.#options.changed(this);
  }

  #notSubscribed(withPresence: boolean, { code, message, action }: ErrorFrame): void {
    const retryable = action === "backoff";
    const { topic } = this;
    const error = new PetrelClientError(code, message, { retryable, topic });
    const concerned = [...this.#handles].filter(
      (handle) => !handle.isLive || (withPresence && !this.#hasPresence && handle.wantsPresence),
    );
    if (retryable) {
      for (const handle of concerned) handle.tell(error);
      return;
    }
    // Nothing that anybody misses, such as an end of presence: do not repeat it endlessly.
    if (concerned.length === 0) this.#hasPresence = withPresence;
    // Perhaps only the right to presence is missing: then the others continue.
    const forPresence = concerned.filter((handle) => handle.wantsPresence);
    const isPresence = withPresence && forPresence.length < this.#handles.size && forPresence.length > 0;
    for (const handle of isPresence ? forPresence : concerned) handle.refuse(error);
    // What the server keeps it sends anyway.
    if (this.#answer !== undefined && this.#newest !== undefined) {
      this.#withoutHandle.goOn(this.#answer, this.#newest);
    }
  }

  #reset(): void {
    this.#question.reset();
    this.#ended();
    for (const consumer of this.#all()) consumer.leave();
  }

  #ended(): void {
    this.#answer = undefined;
    this.#newest = undefined;
    this.#isOwn = false;
    this.#hasPresence = false;
    this.#presence = undefined;
  }

  /** Where the server has to start sending, so that handles that miss something get it, and the others lose nothing. */
  #positionFor(
    missing: readonly TopicConsumer[],
    ready: readonly TopicConsumer[],
  ): TopicPosition | undefined {
    const lowest = this.#lowest(missing);
    const newest = this.#newest;
    if (newest === undefined || (lowest !== undefined && lowest.epoch !== newest.epoch)) return lowest;
    // For those that are served already, the server may go back for the others, but never forward.
    const served = this.#lowest(ready.filter((consumer) => consumer.isLive)) ?? newest;
    return lowest !== undefined && lowest.offset < served.offset ? lowest : served;
  }

  #lowest(consumers: readonly TopicConsumer[]): TopicPosition | undefined {
    const positions = consumers.flatMap(({ position }) => (position === undefined ? [] : [position]));
    return lowestOf(positions, this.#epoch);
  }

  *#all(): Generator<TopicConsumer, void> {
    yield* this.#handles;
    yield this.#withoutHandle;
  }
}
