// client -> here -> connection-keeper, delivery, topics: the client of a push node, for browsers and Node.
// Guarantees: it stays connected, or keeps trying, until the application closes it or the server tells it to stop. The
// application gets messages in order and once, whatever happened to the sockets.
import { shown } from "./check-options.js";
import { clientErrorCodes } from "./client-error.js";
import { factsOf, type Debug } from "./debug-log.js";
import {
  clientEventNames,
  type ClientEvents,
  type ClientState,
  type ClosedEvent,
  type OfflineEvent,
  type StateFacts,
} from "./client-events.js";
import {
  checkConnectable,
  resolveOptions,
  type PetrelClientOptions,
  type ResolvedOptions,
} from "./client-options.js";
import { NORMAL_CLOSURE } from "./connection/close-policy.js";
import { closeReason } from "./connection/close-reason.js";
import { ConnectionKeeper } from "./connection-keeper.js";
import type { Connection } from "./connection/connection.js";
import type { ErrorFrame, ServerFrame, WelcomeFrame } from "./frames.js";
import { HandlerWatch } from "./delivery/handler-watch.js";
import type { PetrelMessage } from "./delivery/handed-message.js";
import { MessageDelivery } from "./delivery/message-delivery.js";
import { PositionSaver } from "./delivery/position-saver.js";
import {
  BROADCAST_TOPIC,
  type PublishedMessage,
  type PublishOptions,
  type TopicHandle,
  type TopicMessage,
  type TopicOptions,
} from "./topics/topic-options.js";
import { TopicSubscriptions } from "./topics/topic-subscriptions.js";
import { FaultReports } from "./report-faults.js";
import { TypedEvents } from "./typed-events.js";
import type { Position } from "./delivery/user-sequence.js";
import { askApplication } from "./credentials/ask-application.js";
import { closedError, nextWelcome } from "./when-online.js";
import { WebPush, type WebPushOptions } from "./web-push/web-push.js";

export class PetrelClient<Data = unknown> {
  readonly #events: TypedEvents<ClientEvents<Data>>;
  readonly #faults: FaultReports;
  readonly #delivery: MessageDelivery;
  readonly #keeper: ConnectionKeeper;
  readonly #saver: PositionSaver | undefined;
  readonly #watch: HandlerWatch;
  readonly #topics: TopicSubscriptions;
  readonly #webPush: WebPush;
  readonly #closeGraceMs: number;
  readonly #options: ResolvedOptions;
  readonly #debug: Debug | undefined;
  #state: ClientState = "closed";
  #welcome: WelcomeFrame | undefined;
  /** Resolves when the last end is complete. */
  #finished: Promise<void> = Promise.resolve();

  /** @throws TypeError naming an option that is missing or unusable */
  constructor(options: PetrelClientOptions) {
    // First, because it reports what is wrong with an option.
    this.#events = new TypedEvents((error, event) => this.#faults.listenerFailed(error, event));
    this.#faults = new FaultReports(this.#events);
    const resolved = resolveOptions(options, (problem) => this.#faults.complain(problem));
    const { savePosition, timing } = resolved;
    this.#options = resolved;
    this.#debug = resolved.debug;
    this.#faults.debug = resolved.debug;
    this.#closeGraceMs = timing.closeGraceMs;
    this.#watch = new HandlerWatch(timing.handlerWarningMs, (event, error) =>
      this.#faults.report(event, error),
    );
    this.#topics = new TopicSubscriptions({
      timing,
      watch: this.#watch,
      report: (error) => this.#faults.report("error", error),
      complain: (problem) => this.#faults.complain(problem),
      hasListeners: () => this.#events.count("topic") > 0,
      deliver: (message) => this.#events.emitInOrder("topic", message as TopicMessage<Data>),
    });
    const { getToken } = options;
    this.#webPush = new WebPush({
      report: (error) => this.#faults.report("error", error),
      getToken: async () => {
        if (getToken === undefined) throw new TypeError("getToken is needed");
        const question = { name: "getToken", ask: getToken, timeoutMs: timing.tokenTimeoutMs } as const;
        return askApplication(question, "connect");
      },
    });
    this.#saver =
      savePosition &&
      new PositionSaver({
        save: savePosition,
        timeoutMs: timing.savePositionTimeoutMs,
        onFailure: (cause) => this.#faults.saveFailed(cause),
      });
    this.#delivery = new MessageDelivery({
      ack: resolved.ack,
      position: resolved.position,
      ackDelayMs: timing.ackDelayMs,
      ackGatherMs: timing.ackGatherMs,
      hasHandlers: () => this.#events.count("message") > 0,
      handle: (message) => this.#handle(message as PetrelMessage<Data>),
      positionMoved: (position) => this.#saver?.save(position),
    });
    const positions = () => ({
      user: this.#delivery.position,
      broadcast: this.#topics.broadcastPosition,
    });
    this.#keeper = new ConnectionKeeper(resolved, positions, {
      onState: (state, facts) => this.#setState(state, facts),
      onWelcome: (connection, welcome, moved) => this.#welcomed(connection, welcome, moved),
      onFrame: (connection, frame) => this.#receive(connection, frame),
      onBadFrame: (problem) =>
        this.#faults.fail(clientErrorCodes.badFrame, `The server sent ${problem}.`, { retryable: true }),
      onOffline: (event) => this.#wentOffline(event),
      onError: (error) => this.#faults.report("error", error),
      onLeaving: () => this.#delivery.flush(),
      onSeen: () => this.#delivery.pageSeen(),
      wantsMessages: () => this.#events.count("message") > 0,
      onRefused: (event) => this.#finish(event),
    });
  }

  get state(): ClientState {
    return this.#state;
  }

  /** What to save, so that another client can resume later. Undefined until the first welcome. */
  get position(): Position | undefined {
    return this.#delivery.position;
  }

  /**
   * @param listener may be async; the client waits for `message` listeners
   * @returns a function that removes the listener
   * @throws TypeError if the listener is not a function
   */
  on<Name extends keyof ClientEvents<Data>>(
    event: Name,
    listener: (payload: ClientEvents<Data>[Name]) => unknown,
  ): () => void {
    if (typeof listener !== "function") throw new TypeError(`on(${shown(event)}): a function is needed`);
    return this.#add(event, listener, listener);
  }

  /** Like `on`, but for the next event only. */
  once<Name extends keyof ClientEvents<Data>>(
    event: Name,
    listener: (payload: ClientEvents<Data>[Name]) => unknown,
  ): () => void {
    if (typeof listener !== "function") throw new TypeError(`once(${shown(event)}): a function is needed`);
    const off = this.#add(
      event,
      (payload) => {
        off();
        return listener(payload);
      },
      listener,
    );
    return off;
  }

  /** Removes a listener that `on` or `once` added; if it was added twice, only one of them. */
  off<Name extends keyof ClientEvents<Data>>(
    event: Name,
    listener: (payload: ClientEvents<Data>[Name]) => unknown,
  ): void {
    this.#events.off(event, listener);
  }

  /**
   * Starts the client. Does nothing if it has started already.
   * @throws TypeError if there is no WebSocket, or no page for a relative `url`
   */
  connect(): void {
    if (this.#state !== "closed") return;
    checkConnectable(this.#options);
    this.#delivery.start();
    this.#topics.start();
    this.#keeper.start();
  }

  /**
   * Resolves with the welcome when the client is online.
   * @throws PetrelClientError `closed` if the client is closed first, or was never started
   */
  whenOnline(): Promise<WelcomeFrame> {
    if (this.#state === "online" && this.#welcome !== undefined) return Promise.resolve(this.#welcome);
    if (this.#state === "closed") return Promise.reject(closedError({ code: 0, reason: "not connected" }));
    return nextWelcome(this);
  }

  /**
   * For `ack: "manual"`: acknowledges this message and all before it.
   * @returns false if the message belongs to a past epoch; it will be delivered again
   */
  ack(message: Pick<PetrelMessage, "epoch" | "seq">): boolean {
    return this.#delivery.acknowledge(message);
  }

  /**
   * Subscribes to a topic, across all connections until `unsubscribe`; also before `connect`. Several handles of one
   * topic share one subscription. `$all` is the broadcast.
   * @throws TypeError if the name or an option is wrong
   */
  subscribe<TopicData = unknown, State = unknown>(
    topic: string,
    options: TopicOptions<TopicData, State>,
  ): TopicHandle {
    return this.#topics.subscribe(topic, options);
  }

  /**
   * Listens to the broadcast, from now on.
   * @param listener may be async; the next broadcast waits for it
   * @returns a function that ends it
   */
  onBroadcast(listener: (message: TopicMessage<Data>) => unknown): () => void {
    if (typeof listener !== "function") throw new TypeError("onBroadcast: a function is needed");
    return this.subscribe<Data>(BROADCAST_TOPIC, { onMessage: listener }).unsubscribe;
  }

  /**
   * Publishes to a topic, if the token and the topic's rule allow it; no subscription is needed. What a lost connection
   * leaves open is sent again, and published once.
   * @throws PetrelClientError the server's code if it refuses; `publishTimeout` or `closed` if it is unknown whether it
   * was published: repeated with `error.idempotencyKey` it is published once
   */
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<PublishedMessage> {
    return this.#topics.publisher.publish(topic, data, options);
  }

  /**
   * Makes this browser show what is sent to the user while its page is closed. Asks the user for permission if
   * necessary, so call it from a click, and then at each start of the page. Needs `getToken`; the client need not be
   * connected.
   * @throws PetrelClientError `webPushFailed` if this browser cannot, the user does not want it, or auth refuses
   */
  enableWebPush(options: WebPushOptions): Promise<PushSubscription> {
    return this.#webPush.enable(options);
  }

  /**
   * Undoes `enableWebPush`, for a user who signs out.
   * @param options the ones it was enabled with, unless this page has enabled it itself
   * @throws PetrelClientError `webPushFailed`
   */
  disableWebPush(options?: WebPushOptions): Promise<void> {
    return this.#webPush.disable(options);
  }

  /**
   * Signs out. No handler starts after this. The running one gets a short time to finish and be acknowledged.
   * @param reason for the server's log; cut to what fits a close frame (123 bytes of UTF-8)
   * @returns resolves when the socket is closed; do not await it inside a `message` handler
   */
  async close(reason?: string): Promise<void> {
    if (this.#state !== "closed") {
      this.#finish({ code: NORMAL_CLOSURE, reason: closeReason(reason), byClient: true });
    }
    await this.#finished;
  }

  #add<Name extends keyof ClientEvents<Data>>(
    event: Name,
    listener: (payload: ClientEvents<Data>[Name]) => unknown,
    name: unknown,
  ): () => void {
    if (!clientEventNames.includes(event)) {
      this.#faults.complain(
        `on(${shown(event)}): there is no such event, only ${clientEventNames.join(", ")}`,
      );
    }
    const off = this.#events.on(event, listener, name);
    if (event === "message") this.#delivery.resume();
    return off;
  }

  #finish(event: ClosedEvent): void {
    const closeSocket = this.#keeper.stop(event.reason);
    this.#topics.stop();
    const end = async (): Promise<void> => {
      await Promise.all([closeSocket(), this.#saver?.settled(this.#closeGraceMs)]);
    };
    // Close the socket, whether or not the last ack was sent.
    this.#finished = this.#delivery.stop(this.#closeGraceMs).then(end, end);
    // A listener may connect again: that must come after both.
    this.#events.together(() => {
      this.#setState("closed", { attempt: 0, reason: { code: event.code, reason: event.reason } });
      this.#events.emit("closed", event);
    });
  }

  #welcomed(connection: Connection, welcome: WelcomeFrame, moved: boolean): void {
    this.#debug?.("welcome", { ...welcome, moved });
    this.#welcome = welcome;
    this.#delivery.adopt(connection, welcome);
    this.#topics.adopt(connection, welcome);
    this.#setState("online");
    // A listener may close the client. Then the others only hear `closed`.
    if (this.#state === "online") this.#events.emit("welcome", welcome);
    if (this.#state === "online" && !moved) this.#events.emit("online", welcome);
  }

  #wentOffline(event: OfflineEvent): void {
    this.#topics.leave();
    this.#events.emit("offline", event);
  }

  #receive(connection: Connection, frame: Exclude<ServerFrame, WelcomeFrame>): void {
    this.#debug?.("frame", factsOf(frame));
    switch (frame.type) {
      case "message":
        this.#delivery.receive(connection, frame);
        return;
      case "recalled": {
        const recalled = this.#delivery.recall(connection, frame);
        if (recalled !== undefined) this.#events.emit("recalled", recalled);
        return;
      }
      case "reconnect":
        this.#keeper.move(connection, frame);
        return;
      case "token_expiring":
        this.#keeper.tokenExpires(connection, frame.inSeconds);
        return;
      case "error":
        this.#receiveError(connection, frame);
        return;
      default:
        this.#topics.receive(connection, frame);
    }
  }

  #receiveError(connection: Connection, frame: ErrorFrame): void {
    if (this.#topics.refused(connection, frame)) return;
    if ((frame.on ?? frame.ref) === "token") this.#keeper.tokenNotChecked(connection);
    this.#faults.fail(frame.code, frame.message, { retryable: frame.action !== "stop" });
  }

  async #handle(message: PetrelMessage<Data>): Promise<void> {
    const handled = {
      what: `message ${message.seq}`,
      messageId: message.id,
      meanwhile: "it is not acknowledged and the next ones wait",
    };
    await this.#watch.run(handled, () => this.#events.emitInOrder("message", message));
  }

  #setState(state: ClientState, facts: StateFacts = { attempt: 0 }): void {
    const previous = this.#state;
    if (state === previous) return;
    this.#state = state;
    const change = { state, previous, ...facts };
    this.#debug?.("state", change);
    // Both first: a listener of one may change the state again.
    this.#events.together(() => {
      this.#events.emit("state", state);
      this.#events.emit("statechange", change);
    });
  }
}
