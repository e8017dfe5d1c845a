// message-routes, batch-routes -> here -> shared/redis/sliding-window-limiter: how many messages a key may send.
// Guarantees: counts messages, one for each recipient. Admits or refuses a request as a whole, before any of it is
// stored. A request over the limit costs neither parsing nor a call to Redis.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpRequest } from "@petrel/shared/kernel/http/http-app";
import {
  describePolicy,
  describeRemaining,
  refusalByLimit,
  type UnsentAnswer,
} from "@petrel/shared/kernel/limits/rate-limit-headers";
import type { LimitDecision, SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { Producer } from "@petrel/shared/security/producers/authenticate-producer";
import { producerOf } from "@petrel/shared/security/producers/authorize-producer";
import type { Readable } from "node:stream";

export const KEY_WINDOW_MS = 10_000;
/** The share of its limit that a busy key takes in advance. */
export const KEY_PREPAID = 0.01;

const policy = { name: "messages", windowMs: KEY_WINDOW_MS, unit: "messages" } as const;
const overLimit = "This key has reached its message limit for now.";

export class MessageLimits {
  readonly #limiter: Pick<SlidingWindowLimiter, "take" | "refusal">;
  readonly #perSecond: number;
  /** One decision covers all takes of a share, so its header is formatted once. */
  readonly #remaining = new WeakMap<LimitDecision, string>();
  readonly #policies = new Map<number, string>();

  /** @param perSecond messages of a key that has no limit of its own; 0 means no limit */
  constructor(limiter: Pick<SlidingWindowLimiter, "take" | "refusal">, perSecond: number) {
    this.#limiter = limiter;
    this.#perSecond = perSecond;
  }

  /** Whether any request of this producer would be refused now. */
  refuses(producer: Producer): boolean {
    if (producer.messagesPerSecond === 0) return true;
    const refusal = this.#limiter.refusal(producer.keyId, 1, this.#limitOf(producer));
    return refusal !== undefined && !refusal.allowed;
  }

  /** A `preParsing` hook, to be run after `authorize`. */
  readonly refuseEarly = (
    request: HttpRequest,
    reply: UnsentAnswer,
    payload: Readable,
    done: (error: Error | null, payload?: Readable) => void,
  ): void => {
    const producer = producerOf(request);
    if (producer.messagesPerSecond === 0) return done(maySendNothing());
    const refusal = this.#limiter.refusal(producer.keyId, 1, this.#limitOf(producer));
    if (refusal === undefined || refusal.allowed) done(null, payload);
    else done(refusalByLimit(reply, policy, refusal.limit, refusal.retryAfterMs, overLimit));
  };

  /**
   * @param field the field that holds the recipients
   * @returns undefined if there is nothing to wait for
   * @throws PetrelError PETREL_RATE_LIMITED, or PETREL_INVALID_REQUEST if the request alone exceeds the limit; the
   * promise rejects with the same
   */
  take(producer: Producer, count: number, field: string, reply: UnsentAnswer): Promise<void> | undefined {
    if (producer.messagesPerSecond === 0) throw maySendNothing();
    const decision = this.#limiter.take(producer.keyId, count, this.#limitOf(producer));
    if (decision instanceof Promise) return decision.then((one) => this.#apply(one, count, field, reply));
    this.#apply(decision, count, field, reply);
    return undefined;
  }

  #apply(decision: LimitDecision, count: number, field: string, reply: UnsentAnswer): void {
    const { limit } = decision;
    if (!decision.allowed) {
      const { retryAfterMs } = decision;
      if (retryAfterMs !== Number.POSITIVE_INFINITY)
        throw refusalByLimit(reply, policy, limit, retryAfterMs, overLimit);
      const seconds = KEY_WINDOW_MS / 1_000;
      throw new PetrelError(
        "PETREL_INVALID_REQUEST",
        `${field}: ${count} messages in one request; this key may send ${limit} in ${seconds} s`,
        { details: { field, limit, windowSeconds: seconds } },
      );
    }
    if (limit === 0) return;
    let remaining = this.#remaining.get(decision);
    if (remaining === undefined) {
      remaining = describeRemaining(policy, decision.remaining, decision.resetMs);
      this.#remaining.set(decision, remaining);
    }
    reply.header("ratelimit-policy", this.#policyOf(limit));
    reply.header("ratelimit", remaining);
  }

  #policyOf(limit: number): string {
    let text = this.#policies.get(limit);
    if (text === undefined) {
      text = describePolicy(policy, limit);
      // As many as there are different limits of keys.
      this.#policies.set(limit, text);
    }
    return text;
  }

  /** @returns 0 if there is no limit */
  #limitOf({ messagesPerSecond = this.#perSecond }: Producer): number {
    return messagesPerSecond === "unlimited" ? 0 : (messagesPerSecond * KEY_WINDOW_MS) / 1_000;
  }
}

function maySendNothing(): PetrelError {
  return new PetrelError("PETREL_FORBIDDEN", "This key may not send messages: its own limit is 0.");
}
