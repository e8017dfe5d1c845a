// auth/routes/devices, dispatch/channels -> here -> devices/register-device.lua, claim-device: where a user can be
// reached.
// Guarantees: at any moment a device is listed for at most one user, whoever registers it and whatever dies meanwhile.
// Once a registration is confirmed, the device stays until it is removed, forgotten or registered by another user. See
// docs/phones/devices.md.
import { randomBytes } from "node:crypto";
import { PetrelError } from "../../kernel/errors.js";
import type { Device, NewDevice } from "../../protocol/fallback/device.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { decodeDeviceEntry, encodeDeviceEntry, type DeviceEntry } from "./device-entry.js";
import { deviceIdOf } from "./device-id.js";
import { DeviceOwners } from "./device-owners.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface DevicesStoreOptions {
  /** The most devices of one user; beyond it, the least recently seen are removed. */
  readonly maxPerUser?: number;
}

const MAX_PER_USER = 20;
/** Concurrent registrations of the same device make a registration start over. */
const MAX_ATTEMPTS = 20;
/** The precision of `lastSeenAtMs`. */
const TOUCH_STEP_MS = 24 * 60 * 60 * 1000;
/** How many devices this process remembers as recently seen. */
const MAX_TOUCHED = 50_000;
const CLAIM_BYTES = 9;

export class DevicesStore {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];
  readonly #owners: DeviceOwners;
  readonly #maxPerUser: number;
  /** `user/device` -> ms; oldest first. */
  readonly #touched = new Map<string, number>();

  constructor(
    scripts: ScriptRunner,
    partitions: readonly PartitionKeys[],
    { maxPerUser = MAX_PER_USER }: DevicesStoreOptions = {},
  ) {
    this.#scripts = scripts;
    this.#partitions = partitions;
    this.#owners = new DeviceOwners(scripts);
    this.#maxPerUser = maxPerUser;
  }

  /**
   * Idempotent: renews `registeredAtMs` and `lastSeenAtMs`, and ends a quarantine. Takes the device over from another
   * user.
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here; the device may or may not
   * be registered, and if not, its former user still has it
   */
  async register(userId: string, device: NewDevice, nowMs: number): Promise<void> {
    const id = deviceIdOf(device);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (await awaitAnswer(this.#tryToRegister(userId, id, device, nowMs))) return;
    }
    throw new PetrelError("PETREL_UNAVAILABLE", "Too many requests are registering this device at once.");
  }

  /** @returns false if another registration or removal interfered: try again then */
  async #tryToRegister(userId: string, id: string, device: NewDevice, nowMs: number): Promise<boolean> {
    const { devices } = this.#keysOf(userId);
    const former = await this.#owners.read(id);
    const claim = randomBytes(CLAIM_BYTES).toString("base64url");
    // First the entry, which nobody sees before the next step: if the process dies here, nothing has changed.
    const evicted = await this.#scripts.run(
      "register-device.v2",
      [devices],
      [id, encodeDeviceEntry(device, claim, nowMs), this.#maxPerUser],
    );
    // This step moves the device from one user to the other atomically.
    const isClaimed = await this.#owners.claim(id, former, { userId, claim });
    // The result does not depend on this clean-up: leftovers are invisible, and are swept later.
    await Promise.allSettled([
      ...evicted
        .split("\n")
        .filter((line) => line !== "")
        .map(async (line) => {
          const [evictedId = "", evictedClaim = ""] = line.split("\t");
          await this.#owners.release(evictedId, { userId, claim: evictedClaim });
        }),
      isClaimed && former !== undefined && former.userId !== userId
        ? this.#removeEntry(former.userId, id, former.claim)
        : undefined,
    ]);
    if (!isClaimed) return false;
    return this.#isSettled(userId, id, claim);
  }

  /** @returns false if the entry was removed before it was claimed: try again then */
  async #isSettled(userId: string, id: string, claim: string): Promise<boolean> {
    const { redis } = this.#scripts;
    const { devices } = this.#keysOf(userId);
    if ((await redis.hexists(devices, id)) === 1) return true;
    // Removed after it was claimed: that removal came later, and has freed the device.
    if ((await this.#owners.read(id))?.claim !== claim) return true;
    if ((await redis.hlen(devices)) < this.#maxPerUser) return false;
    // One device too many. Another attempt would evict another device that is being registered, whose registration
    // would do the same, endlessly.
    await this.#owners.release(id, { userId, claim }).catch(() => undefined);
    return true;
  }

  /** The devices that still belong to this user, in the order of their ids. */
  async list(userId: string): Promise<Device[]> {
    const entries = await awaitAnswer(this.#readEntries(userId));
    const owners = await awaitAnswer(Promise.all(entries.map(({ device }) => this.#owners.read(device.id))));
    const own = entries.filter((_entry, i) => owners[i]?.userId === userId).map(({ device }) => device);
    for (const device of own) {
      // The first push that an iPhone accepts is recorded, however recently the device was registered.
      if (device.platform !== "ios" || device.isTaken === true) {
        this.#noteTouched(userId, device.id, device.lastSeenAtMs);
      }
    }
    return own.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** @returns whether it existed */
  async remove(userId: string, deviceId: string): Promise<boolean> {
    const owner = await awaitAnswer(this.#owners.read(deviceId));
    if (owner?.userId !== userId) return false;
    const claim = await awaitAnswer(this.#removeEntry(userId, deviceId));
    if (claim === "") return false;
    // A leftover claim is renewed or replaced by the next registration, or expires.
    await this.#owners.release(deviceId, { userId, claim }).catch(() => undefined);
    return true;
  }

  /**
   * Call it when a provider accepted a push for the device. At most one write per day and device. Also resolves if the
   * device is gone.
   */
  async touch(userId: string, deviceId: string, nowMs: number): Promise<void> {
    const touchedMs = this.#touched.get(`${userId}/${deviceId}`);
    if (touchedMs !== undefined && nowMs - touchedMs < TOUCH_STEP_MS) return;
    const { devices } = this.#keysOf(userId);
    // Before the answer, so that only one of many concurrent pushes writes.
    this.#noteTouched(userId, deviceId, nowMs);
    try {
      const answer = await awaitAnswer(
        this.#scripts.run("touch-device.v2", [devices], [deviceId, nowMs, TOUCH_STEP_MS]),
      );
      if (answer === "1") await awaitAnswer(this.#owners.keep(deviceId));
    } catch (error) {
      this.#touched.delete(`${userId}/${deviceId}`);
      throw error;
    }
  }

  /** Removes all of a user's devices, except those that are being registered at this very moment. */
  async forgetUser(userId: string): Promise<void> {
    const entries = await awaitAnswer(this.#readEntries(userId));
    for (const { device, claim } of entries) {
      // Release first: if the process dies in between, nobody sees the entry, and it leads here again.
      await awaitAnswer(this.#owners.release(device.id, { userId, claim }));
      await awaitAnswer(this.#removeEntry(userId, device.id, claim));
    }
  }

  /** @returns the claim of what was removed, or "" */
  #removeEntry(userId: string, deviceId: string, claim = ""): Promise<string> {
    return this.#scripts.run("remove-device.v1", [this.#keysOf(userId).devices], [deviceId, claim]);
  }

  async #readEntries(userId: string): Promise<DeviceEntry[]> {
    const all = await this.#scripts.redis.hgetall(this.#keysOf(userId).devices);
    return Object.entries(all).flatMap(([id, text]) => decodeDeviceEntry(id, text) ?? []);
  }

  #noteTouched(userId: string, deviceId: string, atMs: number): void {
    const key = `${userId}/${deviceId}`;
    // Delete it first, so that it becomes the youngest.
    this.#touched.delete(key);
    this.#touched.set(key, atMs);
    if (this.#touched.size <= MAX_TOUCHED) return;
    const oldest = this.#touched.keys().next().value;
    if (oldest !== undefined) this.#touched.delete(oldest);
  }

  #keysOf(userId: string): { readonly devices: string } {
    const keys = this.#partitions[partitionOfUser(userId, this.#partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return { devices: keys.devices(userId) };
  }
}
