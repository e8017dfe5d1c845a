// push-node/connect/{connect-route, open-connection, register-connection} -> here -> limits/sliding-window-limiter: how
// often clients may connect. A user's connects are counted by the script that registers them (connect.v7.lua).
// Guarantees: each limit applies to the whole cluster. A refusal is repeated here until its time is up, without asking
// Redis.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { RecentMap } from "@petrel/shared/kernel/recent-map";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { LimitCounts, LimitCountsOf } from "@petrel/shared/redis/limits/limit-counts";
import {
  DEFAULT_MAX_KEYS,
  SlidingWindowLimiter,
  type LimitDecision,
} from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";

export interface AddressConnectsOptions {
  readonly perAddressPerMinute: number;
  readonly scripts: ScriptRunner;
  readonly counts: LimitCounts;
  readonly logger: Logger;
}

const WINDOW_MS = 60_000;

/** @returns a function that takes one of the connects that an address may begin */
export function createAddressConnects({
  perAddressPerMinute,
  ...shared
}: AddressConnectsOptions): (address: string) => LimitDecision | Promise<LimitDecision> {
  const ofAddress = new SlidingWindowLimiter({
    ...shared,
    name: "connects-address",
    limit: perAddressPerMinute,
    windowMs: WINDOW_MS,
  });
  return (address) => ofAddress.take(address);
}

/** Remembers which users the registering script has refused for connecting too often. */
export class UserConnects {
  /** 0 means no limit. */
  readonly perMinute: number;
  readonly #counts: LimitCountsOf;
  readonly #clock: Clock;
  /** User -> until when they are refused, monotonic ms. */
  readonly #refusedUntilMs = new RecentMap<number>(DEFAULT_MAX_KEYS);

  constructor(perMinute: number, counts: LimitCounts, clock: Clock) {
    this.perMinute = perMinute;
    this.#counts = counts.of("connects-user");
    this.#clock = clock;
  }

  /** @returns how much longer the user is refused, ms; undefined if Redis must be asked */
  refusalMs(userId: string): number | undefined {
    if (this.perMinute === 0) return undefined;
    const untilMs = this.#refusedUntilMs.get(userId);
    if (untilMs === undefined) return undefined;
    const leftMs = untilMs - this.#clock.monotonicMs();
    if (leftMs <= 0) return undefined;
    this.#counts.refusals++;
    this.#counts.local_refusals++;
    return leftMs;
  }

  /** Call it before a user's new connection is registered. */
  asked(): void {
    if (this.perMinute > 0) this.#counts.asks++;
  }

  /** Redis did not answer that registration. */
  unanswered(): void {
    if (this.perMinute > 0) this.#counts.unanswered++;
  }

  refused(userId: string, retryAfterMs: number): void {
    this.#counts.refusals++;
    this.#refusedUntilMs.set(userId, this.#clock.monotonicMs() + retryAfterMs);
  }
}

/** @param retryAfterMs until the user may begin another connection */
export function closeTooOften(connection: Pick<Connection, "fail">, retryAfterMs: number): void {
  const seconds = Math.max(1, Math.ceil(Math.min(retryAfterMs, WINDOW_MS) / 1_000));
  connection.fail(
    closeCodes.tooMany,
    "PETREL_RATE_LIMITED",
    `This user opens connections too often: try again in ${seconds} s.`,
    "backoff",
  );
}
