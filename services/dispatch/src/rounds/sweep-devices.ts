// walk-users -> here -> devices/invalidate-devices.lua: forgets devices that were neither registered nor reached for
// long, in the partitions owned here.
// Guarantees: a round visits every user at a bounded, steady cost. A device that is seen meanwhile stays; each that is
// removed is recorded and counted.
import { describeError } from "@petrel/shared/kernel/errors";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { invalidateDevices } from "@petrel/shared/redis/devices/invalidate-devices";
import { findNotSeen } from "@petrel/shared/redis/devices/find-not-seen";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { walkUsers } from "./walk-users.js";

export interface DeviceSweeperOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly logger: Logger;
  /** A device is removed after this long without being seen. */
  readonly keepMs: number;
  /** Audit notes kept per partition. */
  readonly auditCap: number;
  /** The pause between two steps. */
  readonly intervalMs: number;
  /** The pause between two rounds. */
  readonly restMs: number;
  readonly onSwept: (count: number) => void;
  /** Called after each round with the number of quarantined devices. */
  readonly onQuarantined: (count: number) => void;
}

/** Devices per call. */
const MAX_A_CALL = 200;

export function createDeviceSweeper(options: DeviceSweeperOptions): Loop {
  const sweeper = new DeviceSweeper(options);
  return new Loop((signal) => sweeper.round(signal));
}

class DeviceSweeper {
  readonly #options: DeviceSweeperOptions;

  constructor(options: DeviceSweeperOptions) {
    this.#options = options;
  }

  /** @returns the pause before the next round */
  async round(signal: AbortSignal): Promise<number> {
    const { scripts, owner, logger, intervalMs, restMs, onQuarantined } = this.#options;
    // At the start nothing is owned yet; counting that as a round would delay the first real one by a whole rest.
    if (owner.open.length === 0) return intervalMs;
    let quarantined = 0;
    const visit = async (held: HeldPartition, userIds: readonly string[]): Promise<void> => {
      quarantined += await this.#sweep(held, userIds);
    };
    try {
      await walkUsers({ scripts, owner, kind: "devices", intervalMs, signal, visit });
      if (!signal.aborted) onQuarantined(quarantined);
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "device sweep failed: starting over");
    }
    return restMs;
  }

  /**
   * Needs no fence: of two processes that sweep the same device, the second finds it gone.
   * @returns how many are in quarantine
   */
  async #sweep({ keys }: HeldPartition, userIds: readonly string[]): Promise<number> {
    const { scripts, logger, keepMs, auditCap, onSwept } = this.#options;
    // By Redis's clock: a dispatcher whose own clock is ahead must not forget everybody's devices.
    const nowMs = await readServerTimeMs(scripts.redis, keys.owner);
    const at = { nowMs, beforeMs: nowMs - keepMs };
    const { notSeen, quarantined } = await findNotSeen(scripts.redis, keys, userIds, at);
    let swept = 0;
    for (const batch of inSlices(notSeen, MAX_A_CALL)) {
      for (const { count } of await invalidateDevices(scripts, keys, batch, auditCap)) swept += count;
    }
    if (swept === 0) return quarantined;
    onSwept(swept);
    logger.info({ partition: keys.partition, count: swept }, "devices not seen for a long time were removed");
    return quarantined;
  }
}
