// push-node/{node-routes, renew-leases}, dispatch/route-messages -> here: who holds a user's sockets, from their
// registration (connect-routes) on.
// Guarantees: a route ends with its lease unless it is renewed.
import { readServerTimeMs } from "../connection/server-time.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { tokenKeys, type RouteToken } from "./route-token.js";

/** A connection that has closed. */
export interface RouteToRemove {
  readonly userId: string;
  readonly member: string;
  /** How long its user counts as about to return; 0 for a sign-out. */
  readonly graceMs: number;
}

/**
 * Removes a closed connection.
 * @param graceMs how long its user counts as about to return; 0 for a sign-out
 * @throws Redis's error if it refuses the user's keys
 */
export async function removeRoute(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  member: string,
  graceMs: number,
): Promise<void> {
  const [problem] = await removeRoutes(scripts, keys, [{ userId, member, graceMs }]);
  if (problem instanceof Error) throw problem;
}

/**
 * Removes closed connections, at most MAX_ROUTES_PER_CALL.
 * @returns for each, in order, Redis's error about its user's keys; undefined if there is none
 */
export async function removeRoutes(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  routes: readonly RouteToRemove[],
): Promise<(Error | void)[]> {
  const answer = await scripts.run(
    "leave.v5",
    [
      ...routes.flatMap(({ userId }) => [keys.routes(userId), keys.user(userId)]),
      ...(scripts.events.argument("user.online", "user.offline") === "" ? [] : [keys.online]),
    ],
    routes.flatMap(({ member, graceMs }) => [member, graceMs]),
  );
  return answer.split("\n").map((line) => {
    const [outcome, problem] = line.split("\t");
    return outcome === "error" ? new Error(problem) : undefined;
  });
}

/** The suffix of a member whose node is stopping, see routes/mark-leaving.lua. */
const LEAVING = "/leaving";

/**
 * Marks connections of a stopping node, at most 200 per call: they no longer count against their users' limit.
 * @returns the new member of each, in order
 */
export async function markLeaving(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  routes: readonly { readonly userId: string; readonly member: string }[],
): Promise<string[]> {
  const answer = await scripts.run(
    "mark-leaving.v1",
    routes.map(({ userId }) => keys.routes(userId)),
    routes.map(({ member }) => member),
  );
  const missing = new Set(answer.split(","));
  return routes.map(({ member }, i) => (missing.has(String(i + 1)) ? member : member + LEAVING));
}

/** A connection as its node knows it; without `token` there is nothing to check. */
export interface RouteToRenew {
  readonly userId: string;
  readonly member: string;
  readonly token?: RouteToken;
}

/**
 * A user's routes are kept for some leases. To say so again is a write of its own, so not each renewal does: one in each
 * lease is enough, with a lease to spare if it is late.
 */
const KEPT_LEASES = 3;

export interface Renewal {
  readonly leaseMs: number;
  /** Whether it also keeps the users' routes from expiring, whatever their leases; necessary once a lease. */
  readonly keepsRoutes: boolean;
}

/**
 * Renews leases, at most 200 per call.
 * @returns the indices of connections that are not registered (any more), or whose token is revoked
 */
export async function renewRoutes(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  routes: readonly RouteToRenew[],
  { leaseMs, keepsRoutes }: Renewal,
): Promise<number[]> {
  const keepMs = keepsRoutes ? KEPT_LEASES * leaseMs : "";
  const answer = await scripts.run(
    "heartbeat.v3",
    routes.flatMap(({ userId, token }) => [keys.routes(userId), ...tokenKeys(keys, userId, token)]),
    [leaseMs, keepMs, ...routes.flatMap(({ member, token }) => [member, token?.generation ?? ""])],
  );
  return answer === "" ? [] : answer.split(",").map((index) => Number(index) - 1);
}

/** @returns for each user, in order, the nodes that hold its live connections */
export async function readRoutes(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userIds: readonly string[],
): Promise<string[][]> {
  const answer = await scripts.run(
    "read-routes.v1",
    userIds.map((userId) => keys.routes(userId)),
    [],
  );
  return answer.split("\n").map((line) => (line === "" ? [] : line.split("\t")));
}

export interface LiveConnection {
  readonly id: string;
  readonly node: string;
  readonly platform: string;
  readonly connectedAtMs: number;
  /** As stored in the routes. */
  readonly member: string;
}

/** All live connections of a user, oldest first. */
export async function readConnections(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<LiveConnection[]> {
  // By the clock that wrote the leases.
  const nowMs = await readServerTimeMs(scripts.redis, keys.due);
  const members = await scripts.redis.zrangebyscore(keys.routes(userId), nowMs, "+inf");
  return members.sort().flatMap((member) => {
    const [connectTime = "", node = "", id = "", platform = ""] = member.split("/");
    // "-" is a grace lease after a socket has closed: nobody is there now.
    return node === "-" ? [] : [{ id, node, platform, connectedAtMs: Number(connectTime), member }];
  });
}
