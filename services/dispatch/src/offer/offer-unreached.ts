// hand-over/dispatch-partitions, wake/wake-users -> here -> wake/offer.lua: offers the messages of users whom nobody
// reached to the fallback.
// Guarantees: a user is offline by evidence: no live route; or nodes that neither listen nor renew their key, at once;
// or live nodes that do not listen, once a second look has confirmed it. If its fallback stream is full, a message
// stays in its inbox and its user in `due`.
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

/** How a dispatcher's hand-over and wakes make offers. */
export interface Offers {
  readonly scripts: ScriptRunner;
  readonly absence: AbsenceWatch;
  /** The most entries that a fallback stream may have. */
  readonly fallbackCap: number;
  readonly metrics: Pick<OfferMetrics, "nodesGone">;
  readonly reports: OfferReports;
  readonly logger: Logger;
}

export interface UnreachedUser {
  readonly userId: string;
  /** The nodes of its routes, which did not listen; empty if it has no live route. */
  readonly nodes: readonly string[];
}

/** The most users per call of the script. */
const MAX_USERS = 200;

/**
 * @returns false if this dispatcher no longer owns the partition; then nothing may follow
 * @throws what Redis's client throws; offering again does no harm
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

/** A shard that does not answer must not hold up the others; then the second look decides. */
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
    // With no users, this fails only if the partition's own keys are at fault; then everything is retried.
    await offer([]);
    logger.error({ user: userId, reason: describeError(error) }, "user not offered to the fallback");
  });
  return results?.flat();
}
