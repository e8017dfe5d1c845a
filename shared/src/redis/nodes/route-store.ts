// push-node/register-connection, push-node/renew-leases, dispatch/route-messages -> here: who holds a user's sockets.
// Guarantees: one call decides the limit of connections per user, across all nodes; a route ends with its lease when
// nobody renews it.
import { randomBytes } from "node:crypto";
import { isRevokedByFormerName } from "../devices/former-token-names.js";
import { DEFAULT_SLOW_HISTORY, type InboxHistory } from "../inbox/hold-history.js";
import { USER_KEEP_MS, type PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { readServerTimeMs } from "../connection/server-time.js";

/** What a revocation may name of a connection's token. */
export interface RouteToken {
  /** As in VerifiedToken. */
  readonly generation: number;
  /** "" where the token has none. */
  readonly sessionId: string;
  readonly jti: string;
  /** What the previous release calls a token without a `jti`. */
  readonly formerNames?: readonly string[];
}

/** How many sign-ins of one user stay connected; the newest does. */
export type SessionPolicy = "multi" | "one-per-platform" | "one";

export interface RouteToConnect {
  readonly userId: string;
  readonly node: string;
  readonly connection: string;
  readonly platform: string;
  /** Given where a connection registers again: it keeps its rank by age. */
  readonly connectTimeMs?: number;
  /** Its node stops: it does not count against the limit. */
  readonly isLeaving?: boolean;
  /** The position that the client claims. */
  readonly position?: { readonly epoch: string; readonly since: number };
  /** The connection is refused where this is revoked; without it there is nothing to check. */
  readonly token?: RouteToken;
  /** Redis' clock, ms: a call that runs after this changes nothing. */
  readonly notAfterMs?: number | undefined;
}

export interface RouteLimits extends Partial<InboxHistory> {
  readonly leaseMs: number;
  readonly maxConnectionsPerUser: number;
  readonly whenFull: "evict" | "refuse";
  readonly ackTimeoutMs: number;
  /** Default multi. */
  readonly sessionPolicy?: SessionPolicy;
}

/** From this many messages on a new connection is behind: more than a page of its catch-up. */
const BEHIND_FROM = 100;
const DEFAULT_HISTORY = 100;

/** The newest of a user's messages that were taken back, see recall/cancel-message.lua. */
export interface UserRecalls {
  /** No client has acknowledged anything above; what is between here and `acked` has ended otherwise. */
  readonly ackedUpTo: number;
  /** Oldest first. */
  readonly recalls: readonly { readonly seq: number; readonly id: string }[];
}

export type ConnectResult =
  | {
      readonly outcome: "connected";
      readonly member: string;
      readonly epoch: string;
      readonly seq: number;
      readonly after: number;
      readonly resumed: boolean;
      readonly acked: number;
      /** It has so much to catch up with that it was noted as behind, see hold-history. */
      readonly isHeld: boolean;
      /** That the server keeps for the user. */
      readonly keptTopics: readonly string[];
      /** Undefined where none of the user's messages was taken back. */
      readonly recalls: UserRecalls | undefined;
    }
  | { readonly outcome: "refused"; readonly connections: number }
  /** It registered again, but the session policy keeps a newer sign-in, on that platform. */
  | { readonly outcome: "elsewhere"; readonly platform: string }
  | { readonly outcome: "revoked" }
  | { readonly outcome: "late" };

export async function connectRoute(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  route: RouteToConnect,
  limits: RouteLimits,
): Promise<ConnectResult> {
  const { userId, node, connection, platform, connectTimeMs, isLeaving, position, token, notAfterMs } = route;
  // The connection is in its node's registry already: a revocation that comes after this check finds it there.
  if (token !== undefined && (await isRevokedByFormerName(scripts, keys, { userId, ...token }))) {
    return { outcome: "revoked" };
  }
  const answer = await scripts.run(
    "connect.v4",
    [
      keys.user(userId),
      keys.inbox(userId),
      keys.routes(userId),
      keys.due,
      keys.generation,
      ...tokenKeys(keys, userId, token),
      keys.keptTopics(userId),
    ],
    [
      userId,
      node,
      connection,
      platform,
      connectTimeMs ?? "",
      limits.leaseMs,
      limits.maxConnectionsPerUser,
      limits.whenFull,
      randomBytes(6).toString("base64url"),
      position?.epoch ?? "",
      position?.since ?? "",
      USER_KEEP_MS,
      keys.channel,
      limits.ackTimeoutMs,
      isLeaving === true ? "1" : "",
      token?.generation ?? "",
      limits.sessionPolicy ?? "multi",
      notAfterMs === undefined ? "" : Math.ceil(notAfterMs),
      limits.history ?? DEFAULT_HISTORY,
      limits.slowHistory ?? DEFAULT_SLOW_HISTORY,
      BEHIND_FROM,
    ],
  );
  const [
    outcome,
    member = "",
    epoch = "",
    seq = "",
    after = "",
    resumed = "",
    acked = "",
    kept = "",
    recalls = "",
  ] = answer.split("\t");
  if (outcome === "refused") return { outcome, connections: Number(member) };
  if (outcome === "elsewhere") return { outcome, platform: member };
  if (outcome === "revoked" || outcome === "late") return { outcome };
  return {
    outcome: "connected",
    member,
    epoch,
    seq: Number(seq),
    after: Number(after),
    resumed: resumed === "1",
    acked: Number(acked),
    isHeld: connectTimeMs === undefined && Number(seq) - Number(after) >= BEHIND_FROM,
    keptTopics: kept === "" ? [] : kept.split(","),
    recalls: recalls === "" ? undefined : decodeRecalls(recalls),
  };
}

/** @param text ackedUpTo "," seq SPACE id "," … */
function decodeRecalls(text: string): UserRecalls {
  const [ackedUpTo = "", ...all] = text.split(",");
  return {
    ackedUpTo: Number(ackedUpTo),
    recalls: all.map((one) => {
      const [seq = "", id = ""] = one.split(" ");
      return { seq: Number(seq), id };
    }),
  };
}

/**
 * Takes out a connection that has closed.
 * @param graceMs how long its user counts as on the way back; 0 for a sign-out
 */
export async function removeRoute(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  member: string,
  graceMs: number,
): Promise<void> {
  await scripts.run("leave.v2", [keys.routes(userId), keys.user(userId)], [member, graceMs]);
}

/** The suffix of a member whose node stops, see nodes/mark-leaving.lua. */
const LEAVING = "/leaving";

/**
 * Marks connections of a node that stops, at most 200 in a call: they no longer count against their users' limit.
 * @returns for each, in order, its member from now on
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

/** A connection as its node knows it; without `token` there is none to check. */
export interface RouteToRenew {
  readonly userId: string;
  readonly member: string;
  readonly token?: RouteToken;
}

/**
 * Renews leases, at most 200 in a call.
 * @returns the indices of connections that are not registered (any more), or have a revoked token
 */
export async function renewRoutes(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  routes: readonly RouteToRenew[],
  leaseMs: number,
): Promise<number[]> {
  const answer = await scripts.run(
    "heartbeat.v1",
    routes.flatMap(({ userId, token }) => [keys.routes(userId), ...tokenKeys(keys, userId, token)]),
    [leaseMs, ...routes.flatMap(({ member, token }) => [member, token?.generation ?? ""])],
  );
  return answer === "" ? [] : answer.split(",").map((index) => Number(index) - 1);
}

/** The keys that say whether a token is revoked, as scripts/includes/token-revoked takes them. */
function tokenKeys(keys: PartitionKeys, userId: string, token: RouteToken | undefined): string[] {
  return [
    keys.tokenGeneration(userId),
    keys.revokedSession(userId, token?.sessionId ?? ""),
    keys.revokedToken(token?.jti ?? ""),
  ];
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
  /** As the routes hold it. */
  readonly member: string;
}

/** All live connections of a user, oldest first. */
export async function readConnections(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<LiveConnection[]> {
  // By the clock that the leases were written by.
  const nowMs = await readServerTimeMs(scripts.redis, keys.due);
  const members = await scripts.redis.zrangebyscore(keys.routes(userId), nowMs, "+inf");
  return members.sort().flatMap((member) => {
    const [connectTime = "", node = "", id = "", platform = ""] = member.split("/");
    // "-" stands for a socket that has closed: nobody is there now.
    return node === "-" ? [] : [{ id, node, platform, connectedAtMs: Number(connectTime), member }];
  });
}
