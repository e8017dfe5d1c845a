// share-sockets -> here: which tabs may share a connection: the same user, rights and addresses.
// Guarantees: tokens that differ in anything but what each token has of its own keep tabs apart: their times, ids,
// session, hashes. An unreadable token is
// shared with nobody, unless the application names its user.

/**
 * Claims that differ between successive tokens of the same user. A push node reads no user and no right from them.
 * Which of the others it reads depends on its configuration, so any other difference may mean another user.
 */
const OWN_CLAIMS: ReadonlySet<string> = new Set(
  // Times; the token's own id, or its request's; the sign-in; of what was issued beside it, and where it was asked for.
  (
    "iat exp nbf auth_time updated_at jti nonce uti rh aio origin_jti event_id sid gen session_state session_id " +
    "at_hash c_hash s_hash ipaddr"
  ).split(" "),
);

/** @returns undefined if the token is unreadable */
export function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const [, payload, signature] = token.split(".");
  if (payload === undefined || signature === undefined) return undefined;
  try {
    const binary = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" && claims !== null ? (claims as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

export interface Identity {
  /** Undefined if the credential is a ticket. */
  readonly token: string | undefined;
  /** The application's own name for the signed-in user. */
  readonly key: string | undefined;
  readonly urls: readonly string[];
  /** The options that tabs must have in common. */
  readonly options: Readonly<Record<string, string>>;
}

/** @returns the same for all credentials of one user, whatever they allow; undefined if unknown */
export function userOf({ token, key }: Pick<Identity, "token" | "key">): string | undefined {
  const sub = token === undefined ? undefined : claimsOf(token)?.["sub"];
  return key === undefined && typeof sub !== "string"
    ? undefined
    : JSON.stringify([key ?? null, sub ?? null]);
}

/** @returns one name for all tabs that may share; undefined if unknown */
export function shareName(version: number, { token, key, urls, options }: Identity): string | undefined {
  if (userOf({ token, key }) === undefined) return undefined;
  const claims = token === undefined ? undefined : claimsOf(token);
  const rights = Object.entries(claims ?? {})
    .filter(([name]) => !OWN_CLAIMS.has(name))
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
  // Sorted, because the application may shuffle the list.
  return `petrel:${version}:${JSON.stringify([key ?? null, rights, urls.toSorted(), options])}`;
}
