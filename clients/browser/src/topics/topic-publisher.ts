// client, handles -> here -> the push node: messages that the application publishes to topics.
// Guarantees: each is published once, or its promise is rejected with the reason. What a lost connection leaves open is
// sent again with the same idempotency key, in the order of the calls.
import { shown } from "../check-options.js";
import { clientErrorCodes, PetrelClientError } from "../client-error.js";
import type { TopicConnection } from "./topic-connection.js";
import type { ClientFrame, ErrorFrame, PublishedFrame, WelcomeFrame } from "../frames.js";
import { checkTopic, type PublishedMessage, type PublishOptions } from "./topic-options.js";

interface Publication {
  readonly mayGo: () => boolean;
  readonly frame: Extract<ClientFrame, { type: "publish" }>;
  readonly resolve: (published: PublishedMessage) => void;
  readonly reject: (error: PetrelClientError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** The push nodes' limits: a frame that is nested deeper or much larger ends the connection, and the client with it. */
const MAX_DATA_BYTES = 64 * 1024;
const MAX_DATA_DEPTH = 15;
/** A node allows all connections of a user together 200 frames a second. */
const MAX_IN_WINDOW = 80;
const WINDOW_MS = 1_000;

export class TopicPublisher {
  readonly #timeoutMs: number;
  /** By `ref`, in the order of the calls. */
  readonly #open = new Map<string, Publication>();
  /** Those of them that were not sent on this connection yet. */
  readonly #unsent = new Set<string>();
  #connection: TopicConnection | undefined;
  #sentInWindow = 0;
  #window: ReturnType<typeof setTimeout> | undefined;
  #refs = 0;
  #isStopped = true;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * @param mayGo asked before it is sent; call `resume` when its answer turns to true
   * @throws PetrelClientError; TypeError if the call is wrong
   */
  async publish(
    topic: string,
    data: unknown,
    options: PublishOptions = {},
    mayGo = () => true,
  ): Promise<PublishedMessage> {
    checkTopic("publish", topic, { broadcast: false });
    const { idempotencyKey = newKey() } = options;
    if (typeof idempotencyKey !== "string" || idempotencyKey === "") {
      throw new TypeError(`publish: idempotencyKey: a string is needed, not ${shown(idempotencyKey)}`);
    }
    const fail = (code: string, text: string, retryable: boolean): PetrelClientError =>
      new PetrelClientError(code, text, { retryable, topic, idempotencyKey });
    // A copy, so that later changes by the application are not published.
    const copy = copyOf(data);
    if (new TextEncoder().encode(JSON.stringify(copy)).length > MAX_DATA_BYTES) {
      throw fail("PETREL_PAYLOAD_TOO_LARGE", `The data is larger than ${MAX_DATA_BYTES} bytes.`, false);
    }
    if (isDeeperThan(copy, MAX_DATA_DEPTH)) {
      throw fail("PETREL_INVALID_REQUEST", `The data is nested deeper than ${MAX_DATA_DEPTH} levels.`, false);
    }
    if (this.#isStopped) throw fail(clientErrorCodes.closed, "The client is closed.", false);
    const ref = `p${++this.#refs}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const text = `No answer within ${this.#timeoutMs} ms: it may or may not have been published. Repeat it with its key.`;
        this.#settle(ref)?.reject(fail(clientErrorCodes.publishTimeout, text, true));
      }, this.#timeoutMs);
      const frame = { type: "publish", ref, topic, idempotencyKey, data: copy } as const;
      this.#open.set(ref, { mayGo, frame, resolve, reject, timer });
      this.#unsent.add(ref);
      this.resume();
    });
  }

  start(): void {
    this.#isStopped = false;
  }

  /** A connection was welcomed: resends what has no answer. */
  adopt(connection: TopicConnection, { features }: WelcomeFrame): void {
    this.#connection = features.includes("publish") ? connection : undefined;
    this.#unsent.clear();
    for (const ref of this.#open.keys()) this.#unsent.add(ref);
    this.resume();
  }

  leave(): void {
    this.#connection = undefined;
  }

  published({ ref, id, epoch, offset, duplicate }: PublishedFrame): void {
    this.#settle(ref)?.resolve({ id, epoch, offset, duplicate });
  }

  refused({ ref = "", code, message, action }: ErrorFrame): void {
    const publication = this.#settle(ref);
    if (publication === undefined) return;
    const { topic, idempotencyKey } = publication.frame;
    const retryable = action === "backoff" || action === "refresh";
    publication.reject(new PetrelClientError(code, message, { retryable, topic, idempotencyKey }));
  }

  /** The client is closed. */
  stop(): void {
    this.leave();
    this.#isStopped = true;
    clearTimeout(this.#window);
    this.#window = undefined;
    this.#sentInWindow = 0;
    for (const [ref, { frame, reject }] of this.#open) {
      this.#settle(ref);
      const { topic, idempotencyKey } = frame;
      const text = "The client was closed before the answer: it may or may not have been published.";
      reject(
        new PetrelClientError(clientErrorCodes.closed, text, { retryable: false, topic, idempotencyKey }),
      );
    }
  }

  #settle(ref: string): Publication | undefined {
    const publication = this.#open.get(ref);
    if (publication === undefined) return undefined;
    clearTimeout(publication.timer);
    this.#open.delete(ref);
    this.#unsent.delete(ref);
    return publication;
  }

  /** Sends everything that may be sent now. */
  resume(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    for (const ref of this.#unsent) {
      const publication = this.#open.get(ref);
      if (this.#sentInWindow >= MAX_IN_WINDOW || publication === undefined) break;
      if (!publication.mayGo()) continue;
      if (!connection.send(publication.frame)) break;
      this.#unsent.delete(ref);
      this.#sentInWindow++;
    }
    if (this.#sentInWindow === 0) return;
    this.#window ??= setTimeout(() => {
      this.#window = undefined;
      this.#sentInWindow = 0;
      this.resume();
    }, WINDOW_MS);
  }
}

/** @throws TypeError if it cannot be expressed as JSON */
function copyOf(data: unknown): unknown {
  const text = JSON.stringify(data) as string | undefined;
  if (text === undefined) throw new TypeError(`publish: ${typeof data} is not JSON`);
  return JSON.parse(text);
}

function isDeeperThan(data: unknown, levels: number): boolean {
  if (typeof data !== "object" || data === null) return false;
  return levels === 0 || Object.values(data).some((one) => isDeeperThan(one, levels - 1));
}

/** 128 random bits. `randomUUID` is missing on pages without TLS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
