// accept/turn-batches -> here -> accept/confirm-writes: confirms the calls of one turn.
// Guarantees: one confirmation per server, directly after its calls of this turn, on the same connection.
import { masterOf } from "../connection/cluster-nodes.js";
import type { SingleRedis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import type { ConfirmWrites } from "./confirm-writes.js";

export interface ConfirmOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** Undefined if an answer is confirmation enough. */
  readonly confirm?: ConfirmWrites;
}

/** By partition: resolves when its calls of this turn are confirmed. */
export type Confirmations = ReadonlyMap<number, Promise<void>>;

/** Call it in the same turn as the calls, after them. */
export function confirmByServer(
  { confirm, scripts, partitions: keys }: ConfirmOptions,
  partitions: Iterable<number>,
): Confirmations {
  const confirmations = new Map<number, Promise<void>>();
  if (confirm === undefined) return confirmations;
  const byServer = new Map<SingleRedis, Promise<void>>();
  for (const partition of partitions) {
    const key = keys[partition]?.generation;
    let confirmed: Promise<void>;
    try {
      const server = masterOf(scripts.redis, key ?? "");
      confirmed = byServer.get(server) ?? confirm(server);
      byServer.set(server, confirmed);
    } catch (error) {
      confirmed = Promise.reject(error);
    }
    // The waiting callers see a failure themselves. If the call itself failed, nobody waits.
    confirmed.catch(() => undefined);
    confirmations.set(partition, confirmed);
  }
  return confirmations;
}
