// reconcile-partitions, sweep-devices -> here -> wake/scan-users: one round over all users of the partitions owned
// here.
// Guarantees: visits every user who is there throughout, at a bounded, steady cost. One step per partition at a time,
// and none once the partition is no longer ours.
import { inSlices } from "@petrel/shared/kernel/in-slices";
import { pause } from "@petrel/shared/kernel/pause";
import type { UserKeyKind } from "@petrel/shared/redis/wake/scan-users";
import { forEachMaster } from "@petrel/shared/redis/connection/each-master";
import { scanUsers } from "@petrel/shared/redis/wake/scan-users";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";

export interface UserWalk {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly kind: UserKeyKind;
  /** The pause between two steps. */
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  /** At most 200 users of one partition. */
  readonly visit: (held: HeldPartition, userIds: readonly string[]) => Promise<void>;
}

/** Keys scanned per step: about a quarter of a millisecond of Redis's time. */
const KEYS_A_STEP = 1_000;
/** The most users per call of a script. */
const MAX_USERS = 200;

/** @throws what Redis's client or `visit` throws; the round is incomplete then */
export async function walkUsers({
  scripts,
  owner,
  kind,
  intervalMs,
  signal,
  visit,
}: UserWalk): Promise<void> {
  await forEachMaster(scripts.redis, async (server) => {
    let cursor = "0";
    do {
      const scan = await scanUsers(server, kind, cursor, KEYS_A_STEP);
      ({ cursor } = scan);
      for (const held of owner.open) {
        const users = scan.found.get(held.keys.partition) ?? [];
        for (const some of inSlices(users, MAX_USERS)) {
          if (signal.aborted) break;
          await held.runStep(() => visit(held, some));
        }
      }
      if (cursor !== "0") await pause(intervalMs, signal);
    } while (cursor !== "0" && !signal.aborted);
  });
}
