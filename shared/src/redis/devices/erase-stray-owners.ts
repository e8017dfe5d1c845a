// redis/erase-user -> here -> devices/release-device.lua: devices that still name an erased user as their owner.
// Guarantees: releases owners that a dead process left behind; keeps a device that the user has registered.
import { masterOf } from "../connection/cluster-nodes.js";
import type { SingleRedis } from "../connection/connect.js";
import { decodeDeviceEntry } from "./device-entry.js";
import { DeviceOwners } from "./device-owners.js";
import { forEachMaster } from "../connection/each-master.js";
import { clusterKeys, type PartitionKeys } from "../keys.js";
import { scanGently } from "../connection/scan-gently.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** Scans the owners of all devices, on every server: nothing else leads to an owner without a device. */
export async function eraseStrayOwners(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<void> {
  const owners = new DeviceOwners(scripts);
  const prefix = clusterKeys.deviceOwner("");
  await forEachMaster(scripts.redis, (server) =>
    scanGently(server, `${prefix}*`, async (names) => {
      const values = await readValues(server, names);
      for (const [i, name] of names.entries()) {
        const [owner, claim] = values[i]?.split("\t") ?? [];
        if (owner !== userId || claim === undefined) continue;
        const deviceId = name.slice(prefix.length);
        // Read it after the owner, because an entry is written before it is claimed.
        const text = await masterOf(scripts.redis, keys.owner).hget(keys.devices(userId), deviceId);
        const entry = text === null ? undefined : decodeDeviceEntry(deviceId, text);
        if (entry?.claim !== claim) await owners.release(deviceId, { userId, claim });
      }
    }),
  );
}

/** The keys lie in different slots of one server. */
async function readValues(server: SingleRedis, names: readonly string[]): Promise<(string | undefined)[]> {
  const pipeline = server.pipeline();
  for (const name of names) pipeline.get(name);
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, value]) => {
    // The slot may have moved to another server meanwhile.
    if (error !== null) throw error;
    return typeof value === "string" ? value : undefined;
  });
}
