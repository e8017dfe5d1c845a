// Every HTTP request -> here, before and after its authentication: how many requests an address, and a key, may make.
// Guarantees: a flood of invented keys costs a few look-ups in Redis a second. It locks out no key that this process
// has seen to be valid, and others not for long. This process alone counts an address; all processes together count a
// key.
import type { Readable } from "node:stream";
import { clientOf, limitKeyOfAddress, type TrustedProxies } from "../../kernel/http/client-address.js";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { PetrelError } from "../../kernel/errors.js";
import type { HttpApp, HttpRequest } from "../../kernel/http/http-app.js";
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";
import { LocalLimiter } from "../../kernel/limits/local-limiter.js";
import { refusalByLimit, type UnsentAnswer } from "../../kernel/limits/rate-limit-headers.js";
import type { ProducerAuthenticator } from "../producers/authenticate-producer.js";
import {
  awaitsItsSignature,
  knownProducerOf,
  type SignedBodyShares,
} from "../producers/authorize-producer.js";
import { parseProducerCredential } from "../producers/producer-keys.js";

/** The counts of a limit that are needed here. */
interface Refusals {
  refusals: number;
  local_refusals: number;
}

export interface RequestLimitsOptions {
  readonly authenticator: Pick<ProducerAuthenticator, "hasSeen">;
  readonly trustedProxies: TrustedProxies;
  /** Failed authentications of an address per minute; 0: no limit. */
  readonly failedAuths: number;
  /** Requests of an address without a producer's credential, per 10 s; 0, the default: no limit. */
  readonly requestsPerAddress?: number;
  /** Requests of a key. */
  readonly perKey?: {
    take(key: string): LimitDecision | Promise<LimitDecision>;
  };
  /** By the limit's name, as LimitCounts has them. */
  readonly counts?: { of(limit: string): Refusals };
  readonly clock?: Clock;
}

/** What a service's composition root passes; without it, nothing is limited. */
export type RequestLimits = Omit<RequestLimitsOptions, "authenticator" | "clock">;

export const REQUESTS_WINDOW_MS = 10_000;
const FAILURES_WINDOW_MS = 60_000;
/**
 * Once per interval, over all addresses, a key that this process has not seen yet is looked up even if its address
 * failed too often. A process that has just started knows no keys, and otherwise one failing client behind a proxy
 * could shut out every producer there.
 */
const CHANCE_INTERVAL_MS = 50;

const failures = { name: "failed-authentications", windowMs: FAILURES_WINDOW_MS } as const;
const requests = { name: "requests", windowMs: REQUESTS_WINDOW_MS } as const;

export interface RequestLimiter {
  /** For `decorateWithProducer`. */
  readonly shares: SignedBodyShares;
  /** Call after `decorateWithProducer` and before the routes. */
  limit(app: HttpApp): void;
}

export function createRequestLimiter(options: RequestLimitsOptions): RequestLimiter {
  const { authenticator, trustedProxies, failedAuths, perKey, counts, clock = systemClock } = options;
  const failed = new LocalLimiter({ limit: failedAuths, windowMs: FAILURES_WINDOW_MS, clock });
  const ofAddress = new LocalLimiter({
    limit: options.requestsPerAddress ?? 0,
    windowMs: REQUESTS_WINDOW_MS,
    clock,
  });
  const addressOf = ({ raw }: HttpRequest): string => limitKeyOfAddress(clientOf(raw, trustedProxies));
  const note = (limit: string): void => {
    const ours = counts?.of(limit);
    if (ours === undefined) return;
    ours.refusals++;
    ours.local_refusals++;
  };

  const refusalByAddress = (request: HttpRequest, reply: UnsentAnswer): PetrelError | undefined => {
    const waitMs = ofAddress.limit === 0 ? 0 : ofAddress.take(addressOf(request));
    if (waitMs === 0) return undefined;
    note("requests-per-address");
    return refusalByLimit(reply, requests, ofAddress.limit, waitMs, "Too many requests from this address.");
  };

  let nextChanceMs: number | undefined;
  const hasChance = (): boolean => {
    const nowMs = clock.monotonicMs();
    const isTime = nextChanceMs !== undefined && nowMs >= nextChanceMs;
    if (isTime || nextChanceMs === undefined) nextChanceMs = nowMs + CHANCE_INTERVAL_MS;
    return isTime;
  };

  /** A route that requires no key exempts nobody for having one. */
  const onOpenRequest: OnRequest = (request, reply, done) => done(refusalByAddress(request, reply));

  const onProducerRequest: OnRequest = (request, reply, done) => {
    const keyId = keyIdOf(request);
    if (keyId === undefined) return done(refusalByAddress(request, reply));
    if (failed.limit === 0 || authenticator.hasSeen(keyId)) return done();
    const waitMs = failed.waitMs(addressOf(request));
    if (waitMs === 0 || hasChance()) return done();
    note(failures.name);
    return done(
      refusalByLimit(reply, failures, failed.limit, waitMs, "Too many failed authentications from here."),
    );
  };

  const onProducerKnown: PreParsing = (request, reply, payload, done) => {
    const producer = knownProducerOf(request);
    if (producer === null) {
      // Authorized by another kind of credential; a producer's key beside it, right or wrong, exempts nobody.
      const refusal = keyIdOf(request) === undefined ? undefined : refusalByAddress(request, reply);
      return refusal === undefined ? done(null, payload) : done(refusal);
    }
    if (perKey === undefined) return done(null, payload);
    const answer = (decision: LimitDecision): void => {
      if (decision.allowed) return done(null, payload);
      const { limit, retryAfterMs } = decision;
      done(refusalByLimit(reply, requests, limit, retryAfterMs, "Too many requests with this key."));
    };
    const decision = perKey.take(producer.keyId);
    if (decision instanceof Promise) void decision.then(answer);
    else answer(decision);
  };

  return {
    shares: { addressOf, isSuspect: (address) => failed.waitMs(address) > 0 },
    limit: (app) => {
      app.addHook("onRoute", (route) => {
        // Health and documentation require no credential. A page's preflight comes from the browser itself.
        if (!route.url.startsWith("/v1/") || route.method === "OPTIONS") return;
        const own = listOf(route.onRequest);
        const isForProducers = own.some((hook) => "checksProducers" in hook);
        const first = isForProducers ? onProducerRequest : onOpenRequest;
        // Fastify may derive the HEAD route from one that has the hook.
        if (own.includes(first)) return;
        route.onRequest = [first, ...own];
        if (isForProducers && (perKey !== undefined || ofAddress.limit > 0)) {
          route.preParsing = [onProducerKnown, ...listOf(route.preParsing)];
        }
      });
      // Costs nothing while nothing fails.
      app.addHook("onError", (request, _reply, error, done) => {
        if (failed.limit > 0 && error instanceof PetrelError && isFailure(request, error)) {
          failed.take(addressOf(request));
        }
        done();
      });
    },
  };
}

type OnRequest = (request: HttpRequest, reply: UnsentAnswer, done: (error?: Error) => void) => void;
type PreParsing = (
  request: HttpRequest,
  reply: UnsentAnswer,
  payload: Readable,
  done: (error?: Error | null, payload?: Readable) => void,
) => void;

function listOf<T>(hooks: T | readonly T[] | undefined): readonly T[] {
  if (hooks === undefined) return [];
  return isList(hooks) ? hooks : [hooks];
}

function isList<T>(hooks: T | readonly T[]): hooks is readonly T[] {
  return Array.isArray(hooks);
}

/** A wrong credential, or a signed body that never reached its check. */
function isFailure(request: HttpRequest, { status }: PetrelError): boolean {
  return status === 401 || (status < 500 && status !== 429 && awaitsItsSignature(request));
}

/** `Authorization` counts first, as in the check; signature headers only without it. */
function keyIdOf({ headers }: HttpRequest): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) return parseProducerCredential(authorization)?.keyId;
  const signedBy = headers["petrel-key"];
  return typeof signedBy === "string" ? signedBy : undefined;
}
