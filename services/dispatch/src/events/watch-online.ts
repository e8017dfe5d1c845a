// own-partitions -> here -> redis/events/watch-online: detects users whose last connection is gone, including with its
// node.
// Guarantees: the event is written within a second of the end of a user's last lease (a grace lease counts). Fenced, a
// bounded number per turn. After an outage of Redis or of this dispatcher's link nobody counts as offline for a while,
// because nodes are about to renew their leases.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { findDueOnline, lookOnline } from "@petrel/shared/redis/events/watch-online";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { PartitionLooks } from "../own/partition-looks.js";
import type { EventMetrics } from "./event-metrics.js";

export interface OnlineWatchOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  /** Whether absence proves anything now, see offer/absence-watch. */
  readonly absence: { readonly rules: Pick<AbsenceRules, "absenceInMs" | "settleMs"> };
  readonly metrics: Pick<EventMetrics, "wentOffline">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
}

/** How long a round waits for its looks, and the shortest time between rounds. */
const TICK_MS = 200;
/** How often a partition is checked, besides when the next user is due. */
const LOOK_MS = 1_000;
/** Users in one call. */
const MAX_USERS = 200;
/** Calls per look. */
const MAX_CALLS = 20;

export class OnlineWatch {
  readonly #options: OnlineWatchOptions;
  readonly #looks: PartitionLooks;

  constructor(options: OnlineWatchOptions) {
    this.#options = options;
    this.#looks = new PartitionLooks({
      ...options,
      everyMs: TICK_MS,
      retryMs: LOOK_MS,
      failed: "users who went not found: trying again",
      look: async (held) => {
        let nextInMs = LOOK_MS;
        await held.runStep(async () => {
          nextInMs = await this.#findOffline(held);
        });
        return Math.min(nextInMs, LOOK_MS);
      },
    });
  }

  start(): void {
    this.#looks.start();
  }

  /** Resolves once the looks in progress have ended. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** @returns when to look again */
  async #findOffline(held: HeldPartition): Promise<number> {
    const { scripts, owner, absence, metrics } = this.#options;
    for (let call = 0; call < MAX_CALLS && held.isHeld; call++) {
      const { userIds, nextInMs = LOOK_MS } = await findDueOnline(scripts.redis, held.keys, MAX_USERS);
      if (userIds.length === 0) return nextInMs;
      const offline = await lookOnline(scripts, held.keys, held.token, absence.rules, userIds);
      if (offline === "stale") {
        owner.lose(held, "a look at who is online was refused");
        return LOOK_MS;
      }
      metrics.wentOffline(offline);
      if (userIds.length < MAX_USERS) return nextInMs;
    }
    return 0;
  }
}
