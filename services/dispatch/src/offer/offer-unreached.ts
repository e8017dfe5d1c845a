// hand-over/dispatch-partitions, wake/wake-users -> here -> wake/offer.lua: users whom nobody reached.
// Guarantees: offline by evidence: no live route; or nodes that neither listen nor renew their key, at once; or nodes
// that are there and do not listen, once a second look has confirmed it. What finds its fallback stream full stays in
// its inbox, and its user in `due`.
import { describeError } from "@petrel/shared/kernel/errors";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import { findGoneNodes } from "@petrel/shared/redis/nodes/node-presence";
import { isolateRefused } from "@petrel/shared/redis/scripts/isolate-refused";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { offerUsers, type OfferedUser } from "@petrel/shared/redis/wake/offer-users";
import type { HeldPartition } from "../own/held-partition.js";
import type { AbsenceWatch } from "./absence-watch.js";
import type { OfferMetrics } from "./offer-metrics.js";
import { reportOffers, type OfferReports } from "./report-offers.js";

/** Of a dispatcher: what its hand-over and its wakes offer by. */
export interface Offers {
  readonly scripts: ScriptRunner;
  readonly absence: AbsenceWatch;
  /** Entries that a fallback stream may have. */
  readonly fallbackCap: number;
  readonly metrics: Pick<OfferMetrics, "nodesGone">;
  readonly reports: OfferReports;
  readonly logger: Logger;
}

export interface UnreachedUser {
  readonly userId: string;
  /** They hold it by their routes and did not listen; none where it has no live route. */
  readonly nodes: readonly string[];
}

/** What one call of the script takes. */
const MAX_USERS = 200;

/**
 * @returns false where the partition is not this dispatcher's any more: nothing may follow
 * @throws what Redis' client throws; offering again does no harm
 */
export async function offerUnreached(
  offers: Offers,
  held: HeldPartition,
  users: readonly UnreachedUser[],
): Promise<boolean> {
  const { scripts, metrics, reports } = offers;
  const gone = await findGone(scripts, [...new Set(users.flatMap(({ nodes }) => nodes))]);
  if (gone.length > 0) metrics.nodesGone(gone.length);
  for (const some of inSlices(users, MAX_USERS)) {
    if (!held.isHeld) return false;
    const startMs = Date.now();
    const results = await offerEach(
      offers,
      held,
      gone,
      some.map(({ userId }) => userId),
    );
    if (results === undefined) return false;
    reportOffers(reports, { partition: held.keys.partition, startMs }, results, () => "unreached");
  }
  return true;
}

/** A shard of a cluster that does not answer must not hold up the others: the second look decides then. */
async function findGone({ redis }: ScriptRunner, nodes: readonly string[]): Promise<string[]> {
  try {
    return await findGoneNodes(redis, nodes);
  } catch (error) {
    if (!isConnectionError(error)) throw error;
    return [];
  }
}

/** A user with broken keys stays in `due`. */
async function offerEach(
  { scripts, absence, fallbackCap, logger }: Offers,
  { keys, token }: HeldPartition,
  gone: readonly string[],
  userIds: readonly string[],
): Promise<OfferedUser[] | undefined> {
  const offer = async (ids: readonly string[]): Promise<OfferedUser[] | undefined> => {
    const offered = await offerUsers(scripts, keys, token, { ...absence.rules, fallbackCap }, gone, ids);
    return offered === "stale" ? undefined : offered;
  };
  const results = await isolateRefused(userIds, offer, async ([userId], error) => {
    // With nobody in it, it fails only where the partition's own keys are at fault: then all is tried again.
    await offer([]);
    logger.error({ user: userId, reason: describeError(error) }, "user not offered to the fallback");
  });
  return results?.flat();
}
