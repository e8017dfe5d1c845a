// {connect-routes, route-store} -> here: what a revocation may name of a connection's token, and the keys that tell.
import type { PartitionKeys } from "../keys.js";

/** The parts of a connection's token that a revocation may name. */
export interface RouteToken {
  /** As in VerifiedToken. */
  readonly generation: number;
  /** "" if the token has none. */
  readonly sessionId: string;
  readonly jti: string;
  /** What the previous release calls a token without a `jti`. */
  readonly formerNames?: readonly string[];
}

/** The keys that say whether a token is revoked, as scripts/includes/partition/token-revoked takes them. */
export function tokenKeys(keys: PartitionKeys, userId: string, token: RouteToken | undefined): string[] {
  return [
    keys.tokenGeneration(userId),
    keys.revokedSession(userId, token?.sessionId ?? ""),
    keys.revokedToken(token?.jti ?? ""),
  ];
}
