// push-node/start-push-node -> here: opens this room: what handles and limits the frames of registered clients.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HandleTopicFrame } from "../topics/handle-topic-frames.js";
import type { CollectAcks } from "./collect-acks.js";
import { createHandleFrame, type HandleFrame } from "./handle-frame.js";
import { createTakeFrame, type TakeFrame } from "./limit-frames.js";
import { createRenewToken, type RenewTokenDeps } from "./renew-token.js";

export interface FramesOptions {
  readonly acks: CollectAcks;
  /** How many frames one user may send, in the cluster; 0 means no limit. */
  readonly perUserPerSecond: number;
  readonly outboundBoundBytes: number;
  readonly handleTopicFrame: HandleTopicFrame;
  readonly tokens: Omit<RenewTokenDeps, "logger">;
  readonly scripts: ScriptRunner;
  readonly counts: LimitCounts;
  readonly logger: Logger;
}

export interface Frames {
  readonly handle: HandleFrame;
  readonly take: TakeFrame;
}

export function openFrames(options: FramesOptions): Frames {
  const { acks, perUserPerSecond, outboundBoundBytes, tokens, scripts, counts, logger } = options;
  const { handleTopicFrame } = options;
  const limiter = new ReportedWindowLimiter({
    name: "frames-user",
    limit: perUserPerSecond,
    windowMs: 1_000,
    scripts,
    counts,
    logger,
  });
  const take = createTakeFrame(limiter);
  const renewToken = createRenewToken({ ...tokens, logger });
  const handle = createHandleFrame({
    acks,
    renewToken,
    handleTopicFrame,
    takeFrame: take,
    outboundBoundBytes,
  });
  return { handle, take };
}
