// push-node/connect/{connect-route, open-connection} -> here -> limits/sliding-window-limiter: how often clients may
// connect.
// Guarantees: each limit holds over the whole cluster; a refusal is repeated here until its time is up, without Redis.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { SlidingWindowLimiter, type LimitDecision } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface ConnectLimitsOptions {
  readonly perAddressPerMinute: number;
  readonly perUserPerMinute: number;
  readonly scripts: ScriptRunner;
  readonly counts: LimitCounts;
  readonly logger: Logger;
}

export interface ConnectLimits {
  readonly takeOfAddress: (address: string) => LimitDecision | Promise<LimitDecision>;
  readonly takeOfUser: (userId: string) => LimitDecision | Promise<LimitDecision>;
}

const WINDOW_MS = 60_000;

export function createConnectLimits({
  perAddressPerMinute,
  perUserPerMinute,
  ...shared
}: ConnectLimitsOptions): ConnectLimits {
  const ofAddress = new SlidingWindowLimiter({
    ...shared,
    name: "connects-address",
    limit: perAddressPerMinute,
    windowMs: WINDOW_MS,
  });
  const ofUser = new SlidingWindowLimiter({
    ...shared,
    name: "connects-user",
    limit: perUserPerMinute,
    windowMs: WINDOW_MS,
  });
  return {
    takeOfAddress: (address) => ofAddress.take(address),
    takeOfUser: (userId) => ofUser.take(userId),
  };
}
