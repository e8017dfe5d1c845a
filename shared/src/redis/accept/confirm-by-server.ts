// accept/turn-batches -> here -> accept/confirm-writes: confirms the calls of one turn.
// Guarantees: one confirmation for each server, right behind the calls that it got in this turn, on the same connection.
import { masterOf } from "../connection/cluster-nodes.js";
import type { SingleRedis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import type { ConfirmWrites } from "./confirm-writes.js";

export interface ConfirmOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** Undefined where an answer is confirmation enough. */
  readonly confirm?: ConfirmWrites;
}

/** By partition: settles as its calls of this turn are confirmed. */
export type Confirmations = ReadonlyMap<number, Promise<void>>;

/** Must be called in the turn of the calls, behind them. */
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
    // The callers that wait see a failure themselves. Where the call itself failed, nobody waits.
    confirmed.catch(() => undefined);
    confirmations.set(partition, confirmed);
  }
  return confirmations;
}
