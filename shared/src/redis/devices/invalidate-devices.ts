// redis/device-invalidations, sweep-devices -> here -> devices/invalidate-devices.lua: forgets or quarantines devices,
// unless they were registered again.
// Guarantees: one step compares, removes and records. Then the owner of exactly that registration is released.
import type { ApnsEnvironment } from "../../protocol/fallback/device.js";
import type {
  InvalidationOutcome,
  InvalidationReason,
} from "../../protocol/fallback/invalidation-reasons.js";
import { type DeviceClaim, DeviceOwners } from "./device-owners.js";
import type { PartitionKeys } from "../keys.js";
import { eventKeys } from "../scripts/event-writing.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface DeviceVerdict {
  /** `sweep` also forgets, but compares the time when the device was last seen. */
  readonly what: "forget" | "quarantine" | "sweep";
  /** Applies only if the device was registered (for a sweep: last seen) before this. */
  readonly beforeMs: number;
  readonly quarantinedUntilMs?: number;
  readonly userId: string;
  readonly deviceId: string;
  readonly tokenEnd: string;
  readonly reason: InvalidationReason;
  readonly providerTimestampMs?: number;
  /** A bundle id, an appid, or a push service's host. */
  readonly topic: string;
  /** For an iOS device. */
  readonly environment?: ApnsEnvironment;
}

export interface InvalidationCount {
  readonly outcome: InvalidationOutcome;
  readonly reason: InvalidationReason;
  readonly count: number;
}

/**
 * @param verdicts at most 200, about users of one partition
 * @param auditCap notes kept per partition
 * @returns how many had which outcome, by reason; devices that are gone do not count
 */
export async function invalidateDevices(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  verdicts: readonly DeviceVerdict[],
  auditCap: number,
): Promise<InvalidationCount[]> {
  const answer = await scripts.run(
    "invalidate-devices.v2",
    [keys.invalidations, ...eventKeys(keys), ...verdicts.map(({ userId }) => keys.devices(userId))],
    [auditCap, scripts.events.argument("device.invalidated"), ...verdicts.flatMap(argumentsOf)],
  );
  const lines = answer.split("\n").map((line) => line.split("\t"));
  const counts = new Map<string, InvalidationCount>();
  const forgotten: (DeviceClaim & { readonly deviceId: string })[] = [];
  for (const [i, { what, reason, userId, deviceId }] of verdicts.entries()) {
    const [outcome, claim = ""] = lines[i] ?? [];
    if (outcome === "forgotten") forgotten.push({ deviceId, userId, claim });
    if (outcome !== "forgotten" && outcome !== "quarantined" && outcome !== "kept") continue;
    if (what === "sweep" && outcome === "kept") continue;
    const key = `${outcome} ${reason}`;
    counts.set(key, { outcome, reason, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  // A leftover owner expires, or is replaced by the next registration.
  const owners = new DeviceOwners(scripts);
  await scripts.together(() =>
    Promise.allSettled(forgotten.map(({ deviceId, ...claimed }) => owners.release(deviceId, claimed))),
  );
  return [...counts.values()];
}

function argumentsOf(verdict: DeviceVerdict): (string | number)[] {
  const { what, deviceId, beforeMs, quarantinedUntilMs = 0, userId, tokenEnd, reason } = verdict;
  const { providerTimestampMs = "", topic, environment = "" } = verdict;
  return [
    what,
    deviceId,
    Math.ceil(beforeMs),
    Math.ceil(quarantinedUntilMs),
    userId,
    tokenEnd,
    reason,
    providerTimestampMs,
    topic,
    environment,
  ];
}
