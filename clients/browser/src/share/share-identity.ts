// share-sockets -> here: which tabs may share a connection: the same user, rights and addresses.
// Guarantees: tokens that differ in anything but their time, number and session keep tabs apart; what cannot be read
// is shared with nobody, unless the application names it.

/** Of one token and the next of the same user, these differ. */
const OWN_CLAIMS: ReadonlySet<string> = new Set(["iat", "exp", "nbf", "jti", "sid", "gen"]);

/** @returns undefined where the token is none that can be read */
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
  /** Undefined where the credential is a ticket. */
  readonly token: string | undefined;
  /** The application's own name for who is signed in. */
  readonly key: string | undefined;
  readonly urls: readonly string[];
  /** The options that tabs have to agree on. */
  readonly options: Readonly<Record<string, string>>;
}

/** @returns the same for all credentials of one user, whatever they allow; undefined where nobody can tell */
export function userOf({ token, key }: Pick<Identity, "token" | "key">): string | undefined {
  const sub = token === undefined ? undefined : claimsOf(token)?.["sub"];
  return key === undefined && typeof sub !== "string"
    ? undefined
    : JSON.stringify([key ?? null, sub ?? null]);
}

/** @returns one name for all tabs that may share; undefined where nobody can tell */
export function shareName(version: number, { token, key, urls, options }: Identity): string | undefined {
  if (userOf({ token, key }) === undefined) return undefined;
  const claims = token === undefined ? undefined : claimsOf(token);
  const rights = Object.entries(claims ?? {})
    .filter(([name]) => !OWN_CLAIMS.has(name))
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
  // A list may be shuffled.
  return `petrel:${version}:${JSON.stringify([key ?? null, rights, urls.toSorted(), options])}`;
}
