// Before a request's body is read, and again after it if the request is signed: is this a producer, and may they do
// this?
// Guarantees: a route with this hook runs for no one else; a stranger learns nothing about the expected body.
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { PetrelError } from "../../kernel/errors.js";
import type { HttpApp, HttpRequest } from "../../kernel/http/http-app.js";
import type { ProducerScope } from "../../protocol/producer-scopes.js";
import { type Producer, type ProducerAuthenticator, requireScope } from "./authenticate-producer.js";
import { type BegunSignature, isSigned } from "./authenticate-signature.js";
import { FREE_BYTES, readSignedBody, streamOf } from "./read-signed-body.js";
import { UncheckedBytes } from "./unchecked-bytes.js";
import { EMPTY_BODY_SHA256 } from "./request-signature.js";

const DECORATOR = "producer";
const SIGNED_DECORATOR = "signedRequest";
/** How long a checked credential counts without another check. */
const REMEMBERED_MS = 1_000;
/** The longest credential fits. A longer header is padded with spaces: held, each padding would be another entry. */
const LONGEST_REMEMBERED = 512;
/** Total for requests whose signature is not checked yet. */
const UNCHECKED_BYTES = 64 * 1024 * 1024;
/** How long a signed body may take to arrive. */
const BODY_DEADLINE_MS = 30_000;

/** A request that `authorize` has let pass so far: its body decides. */
interface SignedRequest {
  readonly begun: BegunSignature;
  readonly authenticator: ProducerAuthenticator;
  readonly scope: ProducerScope;
}

/** How much unchecked signed body each client may make this process hold. */
export interface SignedBodyShares {
  /** What a request's share is counted by. */
  readonly addressOf: (request: HttpRequest) => string;
  /** Whether too many requests from there failed authentication. */
  readonly isSuspect: (address: string) => boolean;
}

const ALL_ALIKE: SignedBodyShares = { addressOf: () => "", isSuspect: () => false };

/** Call once per application, before the routes: signed requests pass here before their bodies are parsed. */
export function decorateWithProducer(app: HttpApp, shares: SignedBodyShares = ALL_ALIKE): void {
  app.decorateRequest(DECORATOR, null);
  app.decorateRequest(SIGNED_DECORATOR, null);
  const budget = new UncheckedBytes(UNCHECKED_BYTES);
  app.addHook("preParsing", (request, reply, payload, done) => {
    // `authorize` only lets a signed request pass with this header; every request comes here, so check it alone first.
    const signed = request.headers["petrel-key"] === undefined ? null : signedRequestOf(request);
    if (signed === null) {
      done();
      return;
    }
    void finishThen(done, reply, () => finishSignature(request, signed, payload, { ...shares, budget }));
  });
}

/** Null for a route that is open to everybody; routes that were there before the decorator lack the property. */
function signedRequestOf(request: HttpRequest): SignedRequest | null {
  if (!request.server.hasRequestDecorator(SIGNED_DECORATOR)) return null;
  return request.getDecorator<SignedRequest | null>(SIGNED_DECORATOR);
}

type Done = (error?: Error | null, payload?: Readable) => void;

async function finishThen(
  done: Done,
  reply: { header(name: string, value: string): unknown },
  finish: () => Promise<Readable>,
): Promise<void> {
  let payload: Readable;
  try {
    payload = await finish();
  } catch (error) {
    // The rest of the body is not read.
    if (!(error instanceof PetrelError) || error.status !== 401) void reply.header("connection", "close");
    done(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  done(null, payload);
}

async function finishSignature(
  request: HttpRequest,
  { begun, authenticator, scope }: SignedRequest,
  payload: Readable,
  { budget, addressOf, isSuspect }: SignedBodyShares & { readonly budget: UncheckedBytes },
): Promise<Readable> {
  const address = isLarge(request) ? addressOf(request) : undefined;
  const body = hasBody(request)
    ? await readSignedBody(payload, {
        maxBytes: request.routeOptions.bodyLimit ?? 0,
        budget,
        ...(address === undefined ? {} : { address, mayBeLarge: !isSuspect(address) }),
        deadlineMs: BODY_DEADLINE_MS,
      })
    : undefined;
  const producer = await authenticator.signatures.finish(begun, body?.sha256 ?? EMPTY_BODY_SHA256);
  requireScope(producer, scope);
  request.setDecorator(DECORATOR, producer);
  return body === undefined ? payload : streamOf(body.bytes);
}

/** RFC 9112 section 6.3: a request without either header has no body. */
function hasBody({ headers }: HttpRequest): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** Or of undeclared length. */
function isLarge({ headers }: HttpRequest): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"]) > FREE_BYTES;
}

interface Remembered {
  readonly authorization: string;
  readonly producer: Producer;
  readonly untilMs: number;
  readonly forgotten: number;
}

/**
 * A producer sends the same header with each request, and checking it each time would cost more than the rest of a small
 * request. So a header that was good a moment ago counts without a check: on the connection that sent it before, and on
 * others by its digest. A header is compared only with what this very connection sent before, and looked up by its
 * SHA-256: the time of neither reveals anything that the client did not send itself.
 */
export class RememberedProducers {
  readonly #authenticator: Pick<ProducerAuthenticator, "forgotten" | "clock">;
  readonly #bySocket = new WeakMap<object, Remembered>();
  /** By the digest of its header. */
  readonly #byDigest = new Map<string, Remembered>();
  #tidyAtMs = 0;

  /** For one scope: whoever is remembered has it. */
  constructor(authenticator: Pick<ProducerAuthenticator, "forgotten" | "clock">) {
    this.#authenticator = authenticator;
  }

  /** Headers that are held. */
  get held(): number {
    return this.#byDigest.size;
  }

  /** @returns undefined where the request must be checked, and for one that is signed */
  find({ headers, socket }: Pick<IncomingMessage, "headers" | "socket">): Producer | undefined {
    const { authorization } = headers;
    if (!isRemembered(authorization) || isSigned(headers)) return undefined;
    const ofSocket = this.#bySocket.get(socket);
    if (ofSocket?.authorization === authorization && this.#isGood(ofSocket)) return ofSocket.producer;
    const known = this.#byDigest.size === 0 ? undefined : this.#byDigest.get(digestOf(authorization));
    if (known === undefined || !this.#isGood(known)) return undefined;
    this.#bySocket.set(socket, known);
    return known.producer;
  }

  /** To be called before a check, with what to call where it was good. */
  beginCheck({ headers, socket }: IncomingMessage): (producer: Producer) => void {
    const { authorization } = headers;
    // As of now: the key may be forgotten, and change, while it is checked.
    const { forgotten } = this.#authenticator;
    const untilMs = this.#authenticator.clock.monotonicMs() + REMEMBERED_MS;
    return (producer) => {
      if (!isRemembered(authorization)) return;
      const remembered = { authorization, producer, untilMs, forgotten };
      this.#tidy();
      this.#bySocket.set(socket, remembered);
      this.#byDigest.set(digestOf(authorization), remembered);
    };
  }

  #isGood({ untilMs, forgotten }: Remembered): boolean {
    return this.#authenticator.clock.monotonicMs() < untilMs && forgotten === this.#authenticator.forgotten;
  }

  /** So that no more are held than were checked in two such moments. */
  #tidy(): void {
    const nowMs = this.#authenticator.clock.monotonicMs();
    if (nowMs < this.#tidyAtMs) return;
    this.#tidyAtMs = nowMs + REMEMBERED_MS;
    for (const [digest, remembered] of this.#byDigest) {
      if (!this.#isGood(remembered)) this.#byDigest.delete(digest);
    }
  }
}

function isRemembered(authorization: string | undefined): authorization is string {
  return authorization !== undefined && authorization.length <= LONGEST_REMEMBERED;
}

function digestOf(authorization: string): string {
  return hash("sha256", authorization, "base64");
}

/**
 * A signed request first passes by its key alone. Its signature is checked when its body is there, before anything
 * parses it. Until then `producerOf` has nobody to name.
 * @param remembered to share with other code that admits for the same scope
 * @returns an `onRequest` hook, for an application that `decorateWithProducer` has been called for
 */
export function authorize(
  authenticator: ProducerAuthenticator,
  scope: ProducerScope,
  remembered = new RememberedProducers(authenticator),
) {
  const check = producerCheck(authenticator, scope, remembered);
  return checksProducers((request: HttpRequest, _reply: unknown, done: (error?: Error) => void): void => {
    const waits = check(request);
    // Mostly nothing does: then the request goes on at once, without a promise.
    if (waits === undefined) done();
    else void goOnAfter(waits, done);
  });
}

async function goOnAfter(waits: Promise<void>, done: (error?: Error) => void): Promise<void> {
  try {
    await waits;
  } catch (error) {
    done(error instanceof Error ? error : new Error("not admitted", { cause: error }));
    return;
  }
  done();
}

/**
 * The same as a function, for a route that decides by itself whether it asks for a producer.
 * @returns undefined where the request is admitted and nothing waits
 */
export function producerCheck(
  authenticator: ProducerAuthenticator,
  scope: ProducerScope,
  remembered = new RememberedProducers(authenticator),
): (request: HttpRequest) => Promise<void> | undefined {
  async function checkKey(request: HttpRequest): Promise<void> {
    const remember = remembered.beginCheck(request.raw);
    const producer = await authenticator.authenticate(request.headers.authorization);
    requireScope(producer, scope);
    request.setDecorator(DECORATOR, producer);
    remember(producer);
  }

  async function beginSignature(request: HttpRequest): Promise<void> {
    const { method = "", url: target = "" } = request.raw;
    const begun = await authenticator.signatures.begin({ headers: request.headers, method, target });
    const signed: SignedRequest = { begun, authenticator, scope };
    request.setDecorator(SIGNED_DECORATOR, signed);
  }

  return (request) => {
    if (isSigned(request.headers)) return beginSignature(request);
    const known = remembered.find(request.raw);
    if (known === undefined) return checkKey(request);
    request.setDecorator(DECORATOR, known);
    return undefined;
  };
}

/** Marks an `onRequest` hook that requires a producer's credential: elsewhere a credential counts for nothing. */
export function checksProducers<T extends (request: HttpRequest, ...more: never[]) => unknown>(hook: T): T {
  return Object.assign(hook, { checksProducers: true });
}

/** Whether a request passed by its key's id alone, so that nothing of it is proven yet. */
export function awaitsItsSignature(request: HttpRequest): boolean {
  return signedRequestOf(request) !== null && knownProducerOf(request) === null;
}

/** The producer that sent a request, if one did and is known by now; else null. */
export function knownProducerOf(request: HttpRequest): Producer | null {
  return request.getDecorator<Producer | null>(DECORATOR);
}

/** The producer that sent a request that has passed `authorize`; from `preValidation` on. */
export function producerOf(request: HttpRequest): Producer {
  const producer = request.getDecorator<Producer | null>(DECORATOR);
  if (producer === null) throw new Error("the request's signature has not been checked yet");
  return producer;
}
