// push-node/main -> here -> redis/{sliding-window-limiter, reported-window-limiter}: the limits that clients meet.
// Guarantees: each holds over the whole cluster; what is refused once is refused here until its time, without Redis.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { SlidingWindowLimiter, type LimitDecision } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { PushNodeConfig } from "./config.js";
import { createTakeFrame, type TakeFrame } from "./frames/limit-frames.js";

export interface NodeLimitsOptions {
  readonly settings: Pick<
    PushNodeConfig,
    "connectsPerAddressPerMinute" | "connectsPerUserPerMinute" | "framesPerUserPerSecond"
  >;
  readonly scripts: ScriptRunner;
  readonly counts: LimitCounts;
  readonly logger: Logger;
}

export interface NodeLimits {
  readonly takeConnectOfAddress: (address: string) => LimitDecision | Promise<LimitDecision>;
  readonly takeConnectOfUser: (userId: string) => LimitDecision | Promise<LimitDecision>;
  readonly takeFrame: TakeFrame;
}

export function createNodeLimits({ settings, ...shared }: NodeLimitsOptions): NodeLimits {
  const ofAddress = new SlidingWindowLimiter({
    ...shared,
    name: "connects-address",
    limit: settings.connectsPerAddressPerMinute,
    windowMs: 60_000,
  });
  const ofUser = new SlidingWindowLimiter({
    ...shared,
    name: "connects-user",
    limit: settings.connectsPerUserPerMinute,
    windowMs: 60_000,
  });
  const frames = new ReportedWindowLimiter({
    ...shared,
    name: "frames-user",
    limit: settings.framesPerUserPerSecond,
    windowMs: 1_000,
  });
  return {
    takeConnectOfAddress: (address) => ofAddress.take(address),
    takeConnectOfUser: (userId) => ofUser.take(userId),
    takeFrame: createTakeFrame(frames),
  };
}
