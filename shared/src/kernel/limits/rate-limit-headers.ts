// Code that refuses or admits by a limit -> here -> the answer's headers.
// Guarantees: draft-ietf-httpapi-ratelimit-headers (structured fields, draft 10): `RateLimit-Policy` states the rule,
// `RateLimit` what is left of it; whole seconds, rounded up.
import { PetrelError } from "../errors.js";

/** An answer that has not been sent yet. */
export interface UnsentAnswer {
  header(name: string, value: string): unknown;
}

/** A limit as clients see it. */
export interface LimitPolicy {
  /** Lower-case letters and hyphens. */
  readonly name: string;
  readonly windowMs: number;
  /** The unit that is counted, if not requests. */
  readonly unit?: string;
}

/** `"messages";q=100;w=10` */
export function describePolicy({ name, windowMs, unit }: LimitPolicy, limit: number): string {
  const counted = unit === undefined ? "" : `;qu="${unit}"`;
  return `"${name}";q=${limit};w=${Math.ceil(windowMs / 1_000)}${counted}`;
}

/** `"messages";r=20;t=7` */
export function describeRemaining({ name }: LimitPolicy, remaining: number, inMs: number): string {
  return `"${name}";r=${remaining};t=${Math.max(1, Math.ceil(inMs / 1_000))}`;
}

/**
 * Sets the headers of a refusal.
 * @returns PETREL_RATE_LIMITED, for the caller to throw
 */
export function refusalByLimit(
  reply: UnsentAnswer,
  policy: LimitPolicy,
  limit: number,
  retryAfterMs: number,
  message: string,
): PetrelError {
  reply.header("ratelimit-policy", describePolicy(policy, limit));
  reply.header("ratelimit", describeRemaining(policy, 0, retryAfterMs));
  return new PetrelError("PETREL_RATE_LIMITED", message, {
    retryAfterSeconds: Math.max(1, Math.ceil(retryAfterMs / 1_000)),
  });
}
