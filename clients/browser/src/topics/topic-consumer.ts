// topic-stream -> here -> the application: one handle's position in a topic, and its callbacks.
// Guarantees: each message once and in order. A gap is reported in its place. What is not handed over when the client
// closes is requested again when it connects.
import { clientErrorCodes, describeFailure, PetrelClientError } from "../client-error.js";
import type { ClientTiming } from "../client-timing.js";
import { failuresOf, type HandlerWatch } from "../delivery/handler-watch.js";
import { MessagePump, type Pumped } from "../delivery/message-pump.js";
import type { SubscribedFrame, TopicMessageFrame, TopicPosition } from "../frames.js";
import { AskedState } from "./asked-state.js";
import type {
  StartPosition,
  TopicMessage,
  TopicOptions,
  TopicPresence,
  TopicState,
} from "./topic-options.js";
import { judge } from "./topic-position.js";

export interface ConsumerOptions {
  readonly topic: string;
  readonly options: TopicOptions;
  readonly start: StartPosition | "oldest" | undefined;
  /** Runs the handlers of a message. @returns the errors of those that failed */
  readonly deliver: (message: TopicMessage) => Promise<readonly unknown[]>;
  /** Whether messages skip it at the moment. */
  readonly isMuted?: () => boolean;
  readonly watch: HandlerWatch;
  readonly timing: ClientTiming;
  readonly report: (error: PetrelClientError) => void;
  /** There may be something to send to the server. */
  readonly changed: () => void;
}

interface Item extends Pumped {
  /** The position before: undefined at the start. */
  readonly before: TopicPosition | undefined;
}

/** How many messages wait for slow handlers; further ones stay with the server until there is room. */
const MAX_WAITING = 10_000;
/** How often a history that is trimmed during the request is requested again. */
const MAX_OLDEST_TRIES = 3;

export class TopicConsumer {
  readonly #given: ConsumerOptions;
  readonly #pump: MessagePump<Item>;
  #position: TopicPosition | undefined;
  #handled: TopicPosition | undefined;
  #presence: TopicPresence | undefined;
  #error: PetrelClientError | undefined;
  #reported = "";
  #isLive = false;
  #isClosed = false;
  #isBehind = false;
  #isStopped = false;
  /** Nothing was published before it, so it waits for the first message. */
  #startsAtFirst = false;
  #startsAtOldest = false;
  #oldestTries = 0;
  readonly #state: AskedState;

  constructor(given: ConsumerOptions) {
    this.#given = given;
    this.#pump = new MessagePump(() => !this.#isClosed && !this.#isStopped);
    this.#state = new AskedState({
      ...given,
      getState: given.options.getState,
      onGiven: (position) => this.#begin(position),
    });
    this.#begin(given.start);
  }

  /** Everything up to here was received. */
  get position(): TopicPosition | undefined {
    return this.#position;
  }

  get handled(): TopicPosition | undefined {
    return this.#handled;
  }

  get presence(): TopicPresence | undefined {
    return this.#presence;
  }

  get error(): PetrelClientError | undefined {
    return this.#error;
  }

  get state(): TopicState {
    if (this.#isClosed) return "closed";
    if (this.#error !== undefined) return "refused";
    return this.#isLive ? "subscribed" : "subscribing";
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Whether it can be subscribed: it knows where to start, and has room. */
  get isReady(): boolean {
    const knowsState = this.#given.options.getState === undefined || this.#state.given !== undefined;
    return !this.#isBehind && this.#error === undefined && (knowsState || this.#position !== undefined);
  }

  /** Whether messages published now will reach it, or never can. */
  get hasPlace(): boolean {
    return this.#position !== undefined || this.state !== "subscribing";
  }

  get wantsPresence(): boolean {
    const { presence, onPresence } = this.#given.options;
    return this.#error === undefined && (presence ?? onPresence !== undefined);
  }

  /** There is a connection: requests what it needs before it can be subscribed. */
  prepare(): void {
    if (this.isReady || this.#error !== undefined || this.#isBehind) return;
    this.#state.ask();
  }

  /** @param given the position in the `subscribe` that this frame answers, if it had one */
  place(frame: SubscribedFrame, given: TopicPosition | undefined): void {
    if (!this.isReady) return;
    const { epoch, offset, oldest } = frame;
    if (this.#given.isMuted?.() === true) {
      this.#join(frame, { epoch, offset }, false);
      return;
    }
    if (this.#startsAtFirst) this.#position = { epoch, offset: 0 };
    else if (this.#startsAtOldest) this.#position ??= { epoch, offset: oldest - 1 };
    if (this.#position === undefined) {
      this.#join(frame, { epoch, offset }, false);
      return;
    }
    const verdict = judge(this.#position, frame, given, this.#isLive);
    if (verdict !== "joined" && this.#isLive && this.#given.options.recover === false) {
      this.#join(frame, { epoch, offset }, false);
      return;
    }
    switch (verdict) {
      case "joined":
        if (this.#isLive && this.#position.epoch === epoch) return;
        this.#join(frame, { epoch, offset: this.#position.offset }, true);
        return;
      case "resume":
        this.#isLive = false;
        return;
      case "lost":
        if (this.#startsAtOldest && ++this.#oldestTries < MAX_OLDEST_TRIES) {
          this.#position = { epoch, offset: oldest - 1 };
          this.#isLive = false;
        } else this.#lose(frame, this.#position);
    }
  }

  /** Like `place`, on a topic that is already subscribed: it starts with the next message. */
  joinAt(position: TopicPosition, frame: SubscribedFrame): void {
    this.#join({ ...frame, epoch: position.epoch, offset: position.offset }, position, false);
  }

  /** What it missed will not come: it continues with what does. */
  goOn(frame: SubscribedFrame, { epoch, offset }: TopicPosition): void {
    if (!this.#isLive) this.#lose({ ...frame, epoch, offset }, this.#position ?? { epoch, offset });
  }

  /** Whether it starts with new messages, and needs nothing earlier. */
  get startsAnywhere(): boolean {
    return this.isReady && this.#position === undefined && !this.#startsAtFirst && !this.#startsAtOldest;
  }

  take({ type: _type, ...fields }: TopicMessageFrame, epoch: string): void {
    const before = this.#position;
    if (!this.#isLive || before === undefined || fields.offset <= before.offset) return;
    if (this.#pump.waiting >= MAX_WAITING) {
      this.#isBehind = true;
      this.#isLive = false;
      return;
    }
    const position = { epoch, offset: fields.offset };
    this.#position = position;
    if (this.#given.isMuted?.() === true) return;
    const message = { ...fields, epoch };
    this.#push(before, position, () => this.#given.deliver(message), message.id);
  }

  seePresence(presence: TopicPresence): void {
    this.#presence = presence;
    const { onPresence } = this.#given.options;
    if (onPresence !== undefined && this.wantsPresence)
      this.#callNow("onPresence", () => onPresence(presence));
  }

  /** The server does not let it subscribe on this connection. */
  refuse(error: PetrelClientError): void {
    this.#isLive = false;
    this.#error = error;
    this.tell(error);
  }

  /** Reported only once, unless it was subscribed in between. */
  tell(error: PetrelClientError): void {
    if (this.#reported === error.code) return;
    this.#reported = error.code;
    const { onError } = this.#given.options;
    if (onError === undefined) this.#given.report(error);
    else this.#callNow("onError", () => onError(error));
  }

  /** The server sends no more. */
  leave(): void {
    if (this.#isLive && this.#given.options.recover === false) this.#position = undefined;
    this.#isLive = false;
    this.#error = undefined;
    this.#presence = undefined;
  }

  /** The token has changed: what was refused may be allowed now. */
  forgive(): void {
    this.#error = undefined;
  }

  /** The client closes: what was not handed over is dropped, and requested again after a start. */
  stop(): void {
    this.leave();
    this.#isStopped = true;
    const [first] = this.#pump.clear();
    this.#isBehind = false;
    if (first === undefined) return;
    this.#begin(first.before ?? this.#given.start);
  }

  start(): void {
    this.#isStopped = false;
  }

  close(): void {
    this.#isClosed = true;
    this.#isLive = false;
    this.#state.close();
    this.#pump.clear();
  }

  #begin(start: StartPosition | "oldest" | undefined): void {
    this.#state.forget();
    this.#startsAtOldest = start === "oldest";
    this.#oldestTries = 0;
    const { epoch, offset } =
      start === "oldest" || start === undefined ? { epoch: undefined, offset: 0 } : start;
    this.#startsAtFirst = epoch === null;
    this.#position = typeof epoch === "string" ? { epoch, offset } : undefined;
  }

  #join(frame: SubscribedFrame, position: TopicPosition, recovered: boolean): void {
    const { topic, options } = this.#given;
    const { onState, onSubscribed } = options;
    const state = this.#state.take();
    const before =
      state === undefined && !this.#startsAtFirst && !this.#startsAtOldest ? this.#position : undefined;
    this.#position = position;
    this.#isLive = true;
    this.#reported = "";
    this.#startsAtFirst = false;
    this.#startsAtOldest = false;
    if (state !== undefined && onState !== undefined) {
      this.#push(before, position, () => failuresOf(() => onState(state.state, state.position)));
    }
    const { epoch, offset, oldest } = frame;
    this.#push(before, position, () =>
      failuresOf(() => onSubscribed?.({ topic, epoch, offset, oldest, recovered })),
    );
  }

  #lose(frame: SubscribedFrame, after: TopicPosition): void {
    const { topic, options, report } = this.#given;
    const { epoch, offset, oldest } = frame;
    const position = { epoch, offset };
    const { getState, onLost } = options;
    if (onLost !== undefined) {
      this.#push(after, undefined, () => failuresOf(() => onLost({ topic, after, position, oldest })));
    } else if (getState === undefined) {
      const text =
        `${topic}: messages after ${after.offset} were missed and are no longer available; ` +
        `it continues after ${offset}. Give onLost, or getState.`;
      report(new PetrelClientError(clientErrorCodes.topicLost, text, { retryable: true, topic }));
    }
    if (getState === undefined) {
      this.#join(frame, position, false);
      return;
    }
    // Its state came with a position that is too old.
    if (this.#state.given !== undefined)
      this.#state.failed(new Error("the topic's history does not reach its position"));
    this.#isLive = false;
    this.#begin(undefined);
  }

  /** @param position the position that is handled with it */
  #push(
    before: TopicPosition | undefined,
    position: TopicPosition | undefined,
    call: () => Promise<readonly unknown[]>,
    messageId?: string,
  ): void {
    const { topic, watch, changed } = this.#given;
    this.#pump.push({
      id: messageId ?? "",
      before,
      handle: async () => {
        const what = messageId === undefined ? `topic ${topic}` : `message ${position?.offset} of ${topic}`;
        await watch.run({ what, messageId, meanwhile: "the next ones of this topic wait" }, call);
        this.#handled = position ?? this.#handled;
        if (!this.#isBehind || this.#pump.waiting > 0) return;
        this.#isBehind = false;
        changed();
      },
    });
  }

  #callNow(name: string, call: () => unknown): void {
    const { topic, report } = this.#given;
    void failuresOf(call).then(([cause]) => {
      if (cause === undefined) return;
      const text = `${name} of ${topic} failed: ${describeFailure(cause)}`;
      report(
        new PetrelClientError(clientErrorCodes.listenerFailed, text, { retryable: false, cause, topic }),
      );
    });
  }
}
