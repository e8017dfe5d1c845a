// push-node's handshake, auth's answers to browsers -> here: may a page of this origin call us?
// Guarantees: `null`, which any sandboxed page sends, never matches. A wildcard matches sub-domains, never the domain
// itself, another scheme or another port. An invalid list ends the start.
import { ConfigError } from "../../kernel/config.js";
import { parseUrl } from "../../kernel/parse-url.js";

/**
 * @param origin the value of an `Origin` header
 * @param host the request's `Host`
 */
export type MatchOrigin = (origin: string, host?: string) => boolean;

/** The entry that admits an origin equal to the request's own host. */
const SELF = "self";

interface Pattern {
  /** Such as "https:". */
  readonly scheme: string;
  /** ".example.com" for sub-domains. */
  readonly hostEnd: string;
  /** "" for the scheme's own. */
  readonly port: string;
}

const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^/?#\\@\s]+$/i;
const WILDCARD = /^([a-z][a-z0-9+.-]*:\/\/)\*\.([^*]+)$/i;
/** One or more labels before the domain of a wildcard. */
const SUB_DOMAINS = /^(?:[a-z0-9_-]+\.)*[a-z0-9_-]+$/;

/**
 * Reads a list of origins (RFC 6454 section 6.1), such as ALLOWED_ORIGINS:
 * - `https://app.example.com`: exactly this one; letter case and the scheme's default port do not count
 * - `https://*.example.com`: its sub-domains, at any depth, not `https://example.com` itself
 * - `self`: the origin that names the very host the request was sent to, as some programs send it
 * - `*`: every origin but `null`
 * @throws ConfigError naming the entry that is none of these
 */
export function createMatchOrigin(allowed: readonly string[]): MatchOrigin {
  if (allowed.includes("*")) return (origin) => readOrigin(origin) !== undefined;
  const exact = new Set<string>();
  const patterns: Pattern[] = [];
  for (const entry of allowed) {
    const pattern = readPattern(entry);
    const origin = readOrigin(entry);
    if (entry === SELF) continue;
    if (pattern !== undefined) patterns.push(pattern);
    else if (origin !== undefined && !entry.includes("*")) exact.add(normalForm(origin));
    else {
      throw new ConfigError(
        `ALLOWED_ORIGINS: ${JSON.stringify(entry)} is not an origin: write https://app.example.com, ` +
          "https://*.example.com, self or *, without a path",
      );
    }
  }
  const letsSelfIn = allowed.includes(SELF);
  return (text, host) => {
    const origin = readOrigin(text);
    if (origin === undefined) return false;
    if (letsSelfIn && host !== undefined && isSelf(origin, host)) return true;
    return exact.has(normalForm(origin)) || patterns.some((pattern) => fits(origin, pattern));
  };
}

/** @returns undefined for `null`, and for anything that is not an origin */
function readOrigin(text: string): URL | undefined {
  const url = ORIGIN.test(text) ? parseUrl(text) : undefined;
  return url?.hostname === "" ? undefined : url;
}

/** The default port is that of the origin's scheme: TLS may end before us. */
function isSelf({ protocol, hostname, port }: URL, host: string): boolean {
  const own = /^[^@/?#\\]+$/.test(host) ? parseUrl(`${protocol}//${host}`) : undefined;
  if (own === undefined || !/^(?:https?|wss?):$/.test(protocol)) return false;
  return own.hostname === hostname && own.port === port;
}

function readPattern(entry: string): Pattern | undefined {
  const match = WILDCARD.exec(entry);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  // With a label in place of the wildcard it must be an origin; a whole top-level domain belongs to nobody.
  const url = readOrigin(`${match[1]}x.${match[2]}`);
  if (url === undefined) return undefined;
  const hostEnd = url.hostname.toLowerCase().slice(1);
  if (!/^\.[^.]+\../.test(hostEnd) && hostEnd !== ".localhost") return undefined;
  return { scheme: url.protocol, hostEnd, port: url.port };
}

function fits(origin: URL, { scheme, hostEnd, port }: Pattern): boolean {
  const host = origin.hostname.toLowerCase();
  return (
    origin.protocol === scheme &&
    origin.port === port &&
    host.endsWith(hostEnd) &&
    SUB_DOMAINS.test(host.slice(0, -hostEnd.length))
  );
}

/** `URL.origin` is "null" for schemes such as `capacitor:`. */
function normalForm({ protocol, host }: URL): string {
  return `${protocol}//${host.toLowerCase()}`;
}
