// apns-server -> here -> validate-request: the APNs simulator: one connection of a provider.
// Guarantees: one stream at a time until a request has authenticated, then as many as the behaviour says (nghttp2
// refuses those beyond, REFUSED_STREAM). A request that a GOAWAY refuses has not arrived. A swallowed connection stays
// silent.
import { randomUUID } from "node:crypto";
import {
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ApnsAnswer } from "../state/apns-answer.js";
import type { BlackholeOrder, GoawayOrder } from "../state/behaviour.js";
import type { ReceivedNotifications } from "../state/received-notifications.js";
import type { RequestCounts } from "../state/request-counts.js";
import {
  validateRequest,
  type ConnectionCredential,
  type Judgement,
  type ReceivedRequest,
  type ValidationContext,
} from "./validate-request.js";

export interface ConnectionContext extends ValidationContext {
  readonly notifications: ReceivedNotifications;
  readonly counts: RequestCounts;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface OpenRequest {
  readonly stream: ServerHttp2Stream;
  timer: NodeJS.Timeout | undefined;
}

/** The handle of a Node socket, hidden by http2: stops reading below TLS. */
interface StoppableHandle {
  readonly readStop?: () => number;
}

/** No payload may be longer; what follows is counted, not kept. */
const KEPT_BODY_BYTES = 5120 + 1;
const SWALLOWED_MS = 10 * 60_000;

export class ApnsConnection {
  readonly #session: ServerHttp2Session;
  readonly #credential: ConnectionCredential;
  readonly #context: ConnectionContext;
  /** By stream id; in the order they were opened. */
  readonly #open = new Map<number, OpenRequest>();
  #lastStreamId = 0;
  /** The newest answered one, which has arrived: no GOAWAY may claim that it was ignored. */
  #lastAnsweredId = 0;
  /** The last stream of the GOAWAY; undefined before it. */
  #lastStreamOfGoaway: number | undefined;
  #isAllowed = false;
  #hole: BlackholeOrder | undefined;

  constructor(
    session: ServerHttp2Session,
    certificate: ConnectionCredential["certificate"],
    context: ConnectionContext,
  ) {
    this.#session = session;
    this.#credential = { key: undefined, certificate };
    this.#context = context;
    context.counts.connectionsOpened++;
    session.on(
      "stream",
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: string[]) =>
        this.#onStream(stream, headers, rawHeaders),
    );
    // A peer that disconnects is not our fault.
    session.on("error", (error: Error) => context.logger.debug({ err: error }, "a connection broke"));
    if (typeof certificate === "object") this.allowStreams();
  }

  get openStreams(): number {
    return this.#open.size;
  }

  get isSwallowed(): boolean {
    return this.#hole !== undefined;
  }

  /** Tells the peer how many streams it may open, once it has authenticated; before that it may open one. */
  allowStreams(): void {
    if (this.#session.destroyed || this.#session.closed) return;
    if (this.#credential.certificate === "none" && this.#credential.key === undefined) return;
    this.#session.settings({ maxConcurrentStreams: this.#context.behaviour.maxConcurrentStreams });
  }

  /** GOAWAY as Apple sends it: NO_ERROR with the reason as JSON; streams up to the last one are answered first. */
  goAway({ lastStream = "newest" }: GoawayOrder): void {
    if (this.#session.destroyed || this.#lastStreamOfGoaway !== undefined) return;
    const open = [...this.#open.keys()];
    const kept = { newest: open.length, middle: Math.floor(open.length / 2), none: 0 }[lastStream];
    const refused = open.slice(kept).filter((id) => id > this.#lastAnsweredId);
    // A client's streams have odd numbers: the one before the first refused.
    const lastStreamId = refused[0] === undefined ? this.#lastStreamId : Math.max(0, refused[0] - 2);
    this.#lastStreamOfGoaway = lastStreamId;
    for (const id of refused) {
      clearTimeout(this.#open.get(id)?.timer);
      this.#open.delete(id);
      this.#context.counts.refusedByGoaway++;
    }
    const reason = Buffer.from(JSON.stringify({ reason: "Shutdown" }));
    this.#session.goaway(constants.NGHTTP2_NO_ERROR, lastStreamId, reason);
    this.#closeIfDone();
  }

  /** From now on nothing is read, not even a PING, and nothing is written; only the peer can end this. */
  swallow(order: BlackholeOrder): void {
    if (this.#hole !== undefined || this.#session.destroyed) return;
    this.#hole = order;
    const { _handle: handle } = this.#session.socket as unknown as { readonly _handle?: StoppableHandle };
    if (handle?.readStop === undefined) throw new Error("this Node cannot stop the reading of a socket");
    handle.readStop();
    // Nothing notices any more when the peer leaves.
    setTimeout(() => this.destroy(), SWALLOWED_MS).unref();
  }

  destroy(): void {
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    this.#open.clear();
    this.#session.destroy();
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    const { counts } = this.#context;
    const id = stream.id ?? 0;
    if (this.#lastStreamOfGoaway !== undefined && id > this.#lastStreamOfGoaway) {
      // It arrived while the GOAWAY waited on a full socket; the GOAWAY will say that this request was ignored.
      counts.refusedByGoaway++;
      stream.on("error", () => undefined);
      stream.resume();
      return;
    }
    const request: OpenRequest = { stream, timer: undefined };
    this.#open.set(id, request);
    this.#lastStreamId = id;
    counts.streamsOpened++;
    counts.mostStreamsOpen = Math.max(counts.mostStreamsOpen, this.#open.size);
    const chunks: Buffer[] = [];
    let bytes = 0;
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      if (bytes < KEPT_BODY_BYTES) chunks.push(chunk);
      bytes += chunk.length;
    });
    stream.once("end", () => {
      // Refused meanwhile, or reset by the client.
      if (!this.#open.has(id)) return;
      const received = describeRequest(headers, rawHeaders, Buffer.concat(chunks));
      this.#answerLater(id, request, received);
    });
    // Reset by the client before its request was complete.
    stream.once("close", () => {
      if (request.timer === undefined && this.#open.delete(id)) counts.abandoned++;
    });
  }

  #answerLater(id: number, request: OpenRequest, received: ReceivedRequest): void {
    const { latencyMs } = this.#context.behaviour;
    // A timer even without latency, so that requests of one packet are answered together.
    request.timer = setTimeout(() => this.#answer(id, request, received), latencyMs);
  }

  #answer(id: number, { stream }: OpenRequest, received: ReceivedRequest): void {
    this.#open.delete(id);
    this.#lastAnsweredId = Math.max(this.#lastAnsweredId, id);
    const { counts } = this.#context;
    if (this.#hole !== undefined && this.#hole.delivering !== true) {
      counts.swallowed++;
      return;
    }
    const judgement = validateRequest(received, this.#credential, this.#context);
    const { answer } = judgement;
    // If the provider gives no apns-id, Apple makes one in upper case.
    const isNamed = received.apnsId !== undefined && answer.reason !== "BadMessageId";
    const apnsId = isNamed ? (received.apnsId ?? "") : randomUUID().toUpperCase();
    if (answer.status === 200) this.#deliver(apnsId, received, judgement);
    if (this.#hole !== undefined) {
      counts.swallowed++;
      return;
    }
    counts.countAnswer(answer);
    if (stream.destroyed || stream.closed) counts.abandoned++;
    else respond(stream, apnsId, answer);
    this.#noteSender(received, answer);
    this.#closeIfDone();
  }

  #deliver(apnsId: string, received: ReceivedRequest, { deviceToken, topic }: Judgement): void {
    const { pushType, priority, collapseId, expiration, body } = received;
    this.#context.notifications.add(deviceToken ?? "", {
      at: new Date(this.#context.now()).toISOString(),
      apnsId,
      topic: topic ?? "",
      pushType: pushType ?? null,
      priority: Number(priority ?? 10),
      collapseId: collapseId ?? null,
      expiration: expiration === undefined ? null : Number(expiration),
      payload: body.toString("utf8"),
    });
  }

  /** The sender is known from the first request with a valid token, even if that was refused for another reason. */
  #noteSender({ authorization, environment }: ReceivedRequest, answer: ApnsAnswer): void {
    const credential = this.#credential;
    if (credential.certificate !== "none" || this.#isAllowed) return;
    if (credential.key === undefined && answer.status !== 403) {
      this.#context.providerTokens.check(authorization, environment, credential);
    }
    if (credential.key === undefined) return;
    this.#isAllowed = true;
    this.allowStreams();
  }

  #closeIfDone(): void {
    if (this.#lastStreamOfGoaway !== undefined && this.#open.size === 0) this.#session.close();
  }
}

function respond(stream: ServerHttp2Stream, apnsId: string, answer: ApnsAnswer): void {
  const headers = {
    ":status": answer.status,
    "apns-id": apnsId,
    ...(answer.retryAfterSeconds === undefined ? {} : { "retry-after": String(answer.retryAfterSeconds) }),
  };
  if (answer.reason === undefined) {
    stream.respond(headers, { endStream: true });
    return;
  }
  stream.respond({ ...headers, "content-type": "application/json" });
  const { reason, timestampMs: timestamp } = answer;
  stream.end(JSON.stringify(timestamp === undefined ? { reason } : { reason, timestamp }));
}

function describeRequest(
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  body: Buffer,
): ReceivedRequest {
  const one = (name: string): string | undefined => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };
  return {
    method: one(":method") ?? "",
    path: one(":path") ?? "",
    environment: isSandboxName(one(":authority") ?? one("host") ?? "") ? "sandbox" : "production",
    apnsId: one("apns-id"),
    topic: one("apns-topic"),
    collapseId: one("apns-collapse-id"),
    priority: one("apns-priority"),
    pushType: one("apns-push-type"),
    expiration: one("apns-expiration"),
    authorization: one("authorization"),
    hasDuplicateHeaders: hasDuplicates(rawHeaders),
    body,
  };
}

/**
 * Both environments share one port here. The name that the provider connects to tells them apart, as Apple's names do:
 * `localhost`, or any with "sandbox" in it, is the sandbox, everything else (127.0.0.1) is production.
 */
function isSandboxName(authority: string): boolean {
  return /^localhost(:|$)|sandbox/i.test(authority);
}

/** @param rawHeaders name, value, name, value … */
function hasDuplicates(rawHeaders: readonly string[]): boolean {
  const names = rawHeaders.filter(
    (name, i) => i % 2 === 0 && (name.startsWith("apns-") || name === "authorization"),
  );
  return new Set(names).size < names.length;
}
