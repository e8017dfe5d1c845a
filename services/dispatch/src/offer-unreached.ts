// dispatch/{dispatch-partitions, wake-users} -> here -> scripts/offer -> dispatch/fall-back: users whom nobody reached.
// Guarantees: offline by evidence: no live route; or nodes that neither listen nor renew their key, at once; or nodes
// that are there and do not listen, when a second look has confirmed it.
import { findGoneNodes } from "@petrel/shared/redis/node-presence";
import { offerUsers } from "@petrel/shared/redis/offer-users";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";
import type { AbsenceWatch } from "./absence-watch.js";
import type { DispatchMetrics } from "./dispatch-metrics.js";
import type { HeldPartition } from "./held-partition.js";

export interface OfferUnreachedDeps {
  readonly scripts: ScriptRunner;
  readonly absence: AbsenceWatch;
  readonly metrics: Pick<DispatchMetrics, "offered" | "nodesGone">;
  /** Something was put into the fallback streams. */
  readonly onOffered: () => void;
}

export interface UnreachedUser {
  readonly userId: string;
  /** That hold it by their routes and did not listen; none where it has no live route. */
  readonly nodes: readonly string[];
}

/** What one call of the script takes. */
const MAX_USERS = 200;

/**
 * @returns false where the partition is not this dispatcher's any more: nothing may follow
 * @throws what Redis' client throws; offering again does no harm
 */
export async function offerUnreached(
  { scripts, absence, metrics, onOffered }: OfferUnreachedDeps,
  held: HeldPartition,
  users: readonly UnreachedUser[],
): Promise<boolean> {
  const gone = await findGoneNodes(scripts.redis, [...new Set(users.flatMap(({ nodes }) => nodes))]);
  if (gone.length > 0) metrics.nodesGone(gone.length);
  for (let start = 0; start < users.length; start += MAX_USERS) {
    const ids = users.slice(start, start + MAX_USERS).map(({ userId }) => userId);
    if (!held.isHeld) return false;
    const results = await offerUsers(scripts, held.keys, held.token, absence.rules, gone, ids);
    if (results === "stale") return false;
    let offered = 0;
    for (const result of results) offered += result.offered;
    if (offered === 0) continue;
    metrics.offered(offered);
    onOffered();
  }
  return true;
}
