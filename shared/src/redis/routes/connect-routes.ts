// push-node/register-connection, route-batches -> here -> routes/connect.lua: a user's new sockets.
// Guarantees: one call enforces the limit of connections per user, across all nodes.
import { randomBytes } from "node:crypto";
import { subWindowMs } from "../../kernel/limits/window-ring.js";
import { isRevokedByFormerName } from "../devices/former-token-names.js";
import { DEFAULT_SLOW_HISTORY, type InboxHistory } from "../inbox/hold-history.js";
import { USER_KEEP_MS, type PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { tokenKeys, type RouteToken } from "./route-token.js";

/** How many sign-ins of one user stay connected; the newest always does. */
export type SessionPolicy = "multi" | "one-per-platform" | "one";

export interface RouteToConnect {
  readonly userId: string;
  readonly node: string;
  readonly connection: string;
  readonly platform: string;
  /** Set if a connection registers again: it keeps its rank by age. */
  readonly connectTimeMs?: number;
  /** Its node is stopping, so it does not count against the limit. */
  readonly isLeaving?: boolean;
  /** The position that the client claims. */
  readonly position?: { readonly epoch: string; readonly since: number };
  /** The connection is refused if this is revoked; absent if there is nothing to check. */
  readonly token?: RouteToken;
  /** Redis's clock, ms: a call that runs later changes nothing. */
  readonly notAfterMs?: number | undefined;
}

export interface RouteLimits extends Partial<InboxHistory> {
  readonly leaseMs: number;
  readonly maxConnectionsPerUser: number;
  readonly whenFull: "evict" | "refuse";
  readonly ackTimeoutMs: number;
  /** Default multi. */
  readonly sessionPolicy?: SessionPolicy;
  /** How many new connections a user may begin; by default, and with 0, there is no limit. */
  readonly connectsPerMinute?: number;
}

/** From this many messages on, a new connection is behind: more than a page of catch-up. */
const BEHIND_FROM = 100;
const DEFAULT_HISTORY = 100;

/** The newest of a user's recalled messages, see recall/cancel-message.lua. */
export interface UserRecalls {
  /** No client has acknowledged anything above; what is between here and `acked` ended otherwise. */
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
      /** It has so much to catch up with that it was registered as behind, see hold-history. */
      readonly isHeld: boolean;
      /** The topics that the server keeps for the user. */
      readonly keptTopics: readonly string[];
      /** Undefined if none of the user's messages was recalled. */
      readonly recalls: UserRecalls | undefined;
    }
  | { readonly outcome: "refused"; readonly connections: number }
  /** It registered again, but the session policy prefers a newer sign-in, on that platform. */
  | { readonly outcome: "elsewhere"; readonly platform: string }
  | { readonly outcome: "revoked" }
  /** The user has begun too many connections recently. */
  | { readonly outcome: "too-often"; readonly retryAfterMs: number }
  | { readonly outcome: "late" };

/** The most connections per call, new or gone. */
export const MAX_ROUTES_PER_CALL = 50;
/** Of an epoch. */
export const SEED_BYTES = 6;
const CONNECT_WINDOW_MS = 60_000;
const CONNECT_SUB_WINDOW_MS = subWindowMs(CONNECT_WINDOW_MS);

/**
 * Whether a token was revoked under a name that `connectRoutes` does not know. The connection is in its node's registry
 * already, so a later revocation finds it there.
 */
export function isFormerlyRevoked(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { userId, token }: RouteToConnect,
): Promise<boolean> {
  return token === undefined
    ? Promise.resolve(false)
    : isRevokedByFormerName(scripts, keys, { userId, ...token });
}

/** @throws Redis's error if it refuses the user's keys */
export async function connectRoute(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  route: RouteToConnect,
  limits: RouteLimits,
): Promise<ConnectResult> {
  if (await isFormerlyRevoked(scripts, keys, route)) return { outcome: "revoked" };
  const [result] = await connectRoutes(scripts, keys, route.node, [route], limits);
  if (result === undefined) throw new Error("connect answered nothing");
  if (result instanceof Error) throw result;
  return result;
}

/**
 * Registers connections of one node, at most MAX_ROUTES_PER_CALL.
 * @param seed SEED_BYTES random bytes, as base64url
 * @returns for each, in order, its result, or Redis's error about its user's keys
 */
export async function connectRoutes(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  node: string,
  routes: readonly Omit<RouteToConnect, "node">[],
  limits: RouteLimits,
  seed = randomBytes(SEED_BYTES).toString("base64url"),
): Promise<(ConnectResult | Error)[]> {
  const names: string[] = [keys.due, keys.generation];
  const values: (string | number)[] = [
    node,
    limits.leaseMs,
    limits.maxConnectionsPerUser,
    limits.whenFull,
    limits.sessionPolicy ?? "multi",
    seed,
    USER_KEEP_MS,
    keys.channel,
    limits.ackTimeoutMs,
    limits.history ?? DEFAULT_HISTORY,
    limits.slowHistory ?? DEFAULT_SLOW_HISTORY,
    BEHIND_FROM,
    limits.connectsPerMinute ?? 0,
    CONNECT_SUB_WINDOW_MS,
    CONNECT_WINDOW_MS / CONNECT_SUB_WINDOW_MS,
  ];
  for (const route of routes) {
    const { userId, position, token, notAfterMs } = route;
    names.push(
      keys.user(userId),
      keys.inbox(userId),
      keys.routes(userId),
      ...tokenKeys(keys, userId, token),
      keys.keptTopics(userId),
      keys.connects(userId),
    );
    values.push(
      userId,
      route.connection,
      route.platform,
      route.connectTimeMs ?? "",
      position?.epoch ?? "",
      position?.since ?? "",
      route.isLeaving === true ? "1" : "",
      token?.generation ?? "",
      notAfterMs === undefined ? "" : Math.ceil(notAfterMs),
    );
  }
  const events = scripts.events.argument("user.online", "user.offline", "message.delivered");
  if (events !== "") {
    names.push(keys.online, keys.events, keys.eventLog);
    values.push(events);
  }
  const lines = (await scripts.run("connect.v7", names, values)).split("\n");
  return routes.map((route, i) => readConnected(lines[i] ?? "", route));
}

function readConnected(line: string, route: Omit<RouteToConnect, "node">): ConnectResult | Error {
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
  ] = line.split("\t");
  if (outcome === "refused") return { outcome, connections: Number(member) };
  if (outcome === "elsewhere") return { outcome, platform: member };
  if (outcome === "too-often") return { outcome, retryAfterMs: Number(member) };
  if (outcome === "revoked" || outcome === "late") return { outcome };
  if (outcome !== "ok") return new Error(member === "" ? "connect answered nothing" : member);
  return {
    outcome: "connected",
    member,
    epoch,
    seq: Number(seq),
    after: Number(after),
    resumed: resumed === "1",
    acked: Number(acked),
    isHeld: route.connectTimeMs === undefined && Number(seq) - Number(after) >= BEHIND_FROM,
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
