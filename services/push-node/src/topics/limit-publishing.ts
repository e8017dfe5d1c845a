// push-node/topics/publish-for-client -> here -> limits/reported-window-limiter: how often a user may publish.
// Guarantees: counted in the cluster, for each rule separately. A publication below the limit waits for nothing.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { RecentMap } from "@petrel/shared/kernel/recent-map";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { ReportedWindowLimiter } from "@petrel/shared/redis/limits/reported-window-limiter";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface PublishLimitOptions {
  readonly scripts: ScriptRunner;
  readonly counts: LimitCounts;
  readonly logger: Logger;
}

/** One per distinct limit; a file of rules has a few. */
const MAX_LIMITERS = 32;

export function createTakePublish(options: PublishLimitOptions): (userId: string, rule: TopicRule) => number {
  const limiters = new RecentMap<ReportedWindowLimiter>(MAX_LIMITERS);
  return (userId, { topics, publishPerUserPerSecond: limit }) => {
    let limiter = limiters.get(String(limit));
    if (limiter === undefined) {
      limiter = new ReportedWindowLimiter({ ...options, name: "publish-user", limit, windowMs: 1_000 });
      limiters.set(String(limit), limiter);
    }
    return limiter.take(`${userId} ${topics}`);
  };
}
