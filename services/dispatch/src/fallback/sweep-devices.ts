// dispatch: forgets devices that were neither registered nor reached for long, of the partitions owned here.
// Guarantees: a round comes upon every user at a bounded, steady cost; a device that is seen in the meantime stays; each
// that goes is noted and counted.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { invalidateDevices } from "@petrel/shared/redis/devices/invalidate-devices";
import { findNotSeen } from "@petrel/shared/redis/devices/find-not-seen";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { pause } from "../pause.js";
import { walkUsers } from "../wake/walk-users.js";

export interface DeviceSweeperOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly logger: Logger;
  /** What was not seen for this long goes. */
  readonly keepMs: number;
  /** Notes kept of each partition. */
  readonly auditCap: number;
  /** Between two steps. */
  readonly intervalMs: number;
  /** Between two rounds. */
  readonly restMs: number;
  readonly onSwept: (count: number) => void;
}

/** Devices swept by one call. */
const MAX_A_CALL = 200;

export class DeviceSweeper {
  readonly #options: DeviceSweeperOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: DeviceSweeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { scripts, owner, logger, intervalMs, restMs } = this.#options;
    while (!signal.aborted) {
      if (owner.open.length === 0) {
        // At the start, a round for nothing would have all wait until the next one.
        await pause(intervalMs, signal);
        continue;
      }
      try {
        await walkUsers({
          scripts,
          owner,
          kind: "devices",
          intervalMs,
          signal,
          visit: (held, userIds) => this.#sweep(held, userIds),
        });
      } catch (error) {
        logger.warn({ reason: describeError(error) }, "devices not swept: beginning anew");
      }
      await pause(restMs, signal);
    }
  }

  /** Needs no fence: of two that sweep the same device, the second finds it gone. */
  async #sweep({ keys }: HeldPartition, userIds: readonly string[]): Promise<void> {
    const { scripts, logger, keepMs, auditCap, onSwept } = this.#options;
    // Redis' clock: one dispatcher whose own is ahead must not forget everybody's devices.
    const beforeMs = (await readServerTimeMs(scripts.redis, keys.owner)) - keepMs;
    const verdicts = await findNotSeen(scripts.redis, keys, userIds, beforeMs);
    let swept = 0;
    for (let start = 0; start < verdicts.length; start += MAX_A_CALL) {
      const batch = verdicts.slice(start, start + MAX_A_CALL);
      for (const { count } of await invalidateDevices(scripts, keys, batch, auditCap)) swept += count;
    }
    if (swept === 0) return;
    onSwept(swept);
    logger.info({ partition: keys.partition, count: swept }, "devices not seen for long: forgotten");
  }
}
