// redis/devices-store, device-invalidations -> here -> devices/claim-device.lua, release-device: the one user who owns
// a device.
// Guarantees: users live in different slots, so this single key decides. Each change is one step and undoes no later
// one.
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface DeviceClaim {
  readonly userId: string;
  /** Identifies a registration; each has its own claim, which is written at most once. */
  readonly claim: string;
}

/**
 * How long an owner is kept while its device is neither registered nor reached, ms: longer than any DEVICE_KEEP_DAYS.
 * So it expires only if the process that should have removed it died.
 */
export const OWNER_KEEP_MS = 1_000 * 24 * 60 * 60 * 1000;

export class DeviceOwners {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  async read(deviceId: string): Promise<DeviceClaim | undefined> {
    const text = await this.#scripts.redis.get(clusterKeys.deviceOwner(deviceId));
    const [userId, claim] = text?.split("\t") ?? [];
    return userId === undefined || claim === undefined ? undefined : { userId, claim };
  }

  /**
   * @param expected as it was read
   * @returns whether it still was as expected; if so, it is `next` from now on
   */
  async claim(deviceId: string, expected: DeviceClaim | undefined, next: DeviceClaim): Promise<boolean> {
    const answer = await this.#scripts.run(
      "claim-device.v1",
      [clusterKeys.deviceOwner(deviceId)],
      [expected === undefined ? "" : textOf(expected), textOf(next), OWNER_KEEP_MS],
    );
    return answer === "claimed";
  }

  /** Frees the device if it still has this claim. */
  async release(deviceId: string, claimed: DeviceClaim): Promise<void> {
    await this.#scripts.run("release-device.v1", [clusterKeys.deviceOwner(deviceId)], [textOf(claimed)]);
  }

  /** Extends the owner's time, because the device was seen. */
  async keep(deviceId: string): Promise<void> {
    await this.#scripts.redis.pexpire(clusterKeys.deviceOwner(deviceId), OWNER_KEEP_MS);
  }
}

function textOf({ userId, claim }: DeviceClaim): string {
  return `${userId}\t${claim}`;
}
