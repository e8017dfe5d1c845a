// dispatch/{dispatch-partitions, wake-users} -> here -> wake/offer.lua -> dispatch/fall-back: users whom nobody reached.
// Guarantees: offline by evidence: no live route; or nodes that neither listen nor renew their key, at once; or nodes
// that are there and do not listen, when a second look has confirmed it. What finds its fallback stream full stays in
// its inbox, and its user in `due`.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { findGoneNodes } from "@petrel/shared/redis/nodes/node-presence";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import { offerUsers, type OfferedUser } from "@petrel/shared/redis/wake/offer-users";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AbsenceWatch } from "../own/absence-watch.js";
import type { DispatchMetrics } from "../dispatch-metrics.js";
import type { HeldPartition } from "../own/held-partition.js";
import { traceOffers } from "../wake/trace-offers.js";

export interface OfferUnreachedDeps {
  readonly scripts: ScriptRunner;
  readonly absence: AbsenceWatch;
  /** Entries that a fallback stream may have. */
  readonly fallbackCap?: number | undefined;
  readonly metrics: Pick<DispatchMetrics, "offered" | "nodesGone">;
  readonly logger: Logger;
  /** Something was put into the fallback streams. */
  readonly onOffered: () => void;
  /** Something found its fallback stream full. */
  readonly onHeldUp?: (() => void) | undefined;
  /** Off by default. */
  readonly tracing?: Tracing;
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
  deps: OfferUnreachedDeps,
  held: HeldPartition,
  users: readonly UnreachedUser[],
): Promise<boolean> {
  const { scripts, absence, fallbackCap, metrics, logger, onOffered, tracing = NO_TRACING } = deps;
  const gone = await findGone(scripts, [...new Set(users.flatMap(({ nodes }) => nodes))]);
  if (gone.length > 0) metrics.nodesGone(gone.length);
  for (let start = 0; start < users.length; start += MAX_USERS) {
    const ids = users.slice(start, start + MAX_USERS).map(({ userId }) => userId);
    if (!held.isHeld) return false;
    const startMs = Date.now();
    const results = await offerEach(ids, logger, (some) =>
      offerUsers(scripts, held.keys, held.token, { ...absence.rules, fallbackCap }, gone, some),
    );
    if (results === "stale") return false;
    if (results.some(({ isHeldUp }) => isHeldUp)) deps.onHeldUp?.();
    let offered = 0;
    for (const result of results) {
      offered += result.offered;
      if (result.traced === undefined) continue;
      traceOffers(tracing, { partition: held.keys.partition, startMs, reason: "unreached" }, result.traced);
    }
    if (offered === 0) continue;
    metrics.offered(offered);
    onOffered();
  }
  return true;
}

/** A shard of a cluster that does not answer must not hold up the others': the second look decides then. */
async function findGone({ redis }: ScriptRunner, nodes: readonly string[]): Promise<string[]> {
  try {
    return await findGoneNodes(redis, nodes);
  } catch (error) {
    if (!isConnectionError(error)) throw error;
    return [];
  }
}

/** One user's broken keys hold up nobody else: it stays in `due`. */
async function offerEach(
  ids: readonly string[],
  logger: Logger,
  offer: (ids: readonly string[]) => Promise<OfferedUser[] | "stale">,
): Promise<OfferedUser[] | "stale"> {
  try {
    return await offer(ids);
  } catch (error) {
    if (isConnectionError(error)) throw error;
  }
  // With nobody in it, it fails only where the partition's own keys are at fault: that is tried again as a whole.
  if ((await offer([])) === "stale") return "stale";
  const all: OfferedUser[] = [];
  for (const id of ids) {
    try {
      const one = await offer([id]);
      if (one === "stale") return one;
      all.push(...one);
    } catch (error) {
      if (isConnectionError(error)) throw error;
      logger.error({ user: id, reason: describeError(error) }, "user not offered to the fallback");
    }
  }
  return all;
}
