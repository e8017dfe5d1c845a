// auth/devices/device-schema, dispatch/channels/web -> here: may this endpoint be registered, and posted to?
// Guarantees: https to a listed host on its usual port, or an origin that is listed as such; without a user, password or
// fragment. Whatever a URL parser would read differently from what is written is refused.
import { ConfigError } from "../../kernel/config.js";
import { parseUrl } from "../../kernel/parse-url.js";

export type EndpointVerdict =
  | {
      readonly ok: true;
      /** Whether the operator named this very origin; then it may be a private address. */
      readonly isNamed: boolean;
    }
  | { readonly ok: false; readonly problem: string };

const HOST = /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*$/;

export class PushHosts {
  readonly #hosts = new Set<string>();
  /** Such as ".push.apple.com". */
  readonly #ends: string[] = [];
  readonly #origins = new Set<string>();

  /**
   * @param entries see WEB_PUSH_HOSTS
   * @throws ConfigError naming the entry that is invalid
   */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      if (HOST.test(entry)) {
        if (entry.startsWith("*.")) this.#ends.push(entry.slice(1));
        else this.#hosts.add(entry);
      } else if (/^https?:\/\/[^*]+$/.test(entry) && parseUrl(entry)?.origin === entry) {
        this.#origins.add(entry);
      } else {
        throw new ConfigError(
          `WEB_PUSH_HOSTS: ${JSON.stringify(entry)} is not a host: write push.example.com, *.example.com or ` +
            "https://host:port, in lower case and without a path",
        );
      }
    }
  }

  judge(endpoint: string): EndpointVerdict {
    const url = parseUrl(endpoint);
    if (!/^https?:\/\/[!-~]+$/.test(endpoint) || url === undefined) return refused("must be a URL");
    const { href, origin, protocol, hostname, port, username, password, hash } = url;
    if (username !== "" || password !== "") return refused("must not contain a user and password");
    if (hash !== "" || endpoint.includes("#")) return refused("must not contain a fragment");
    // One spelling only, because the endpoint is what distinguishes browsers.
    if (href !== endpoint) return refused("must be written in its normal form");
    if (this.#origins.has(origin)) return { ok: true, isNamed: true };
    if (protocol !== "https:") return refused("must begin with https:");
    const isListed = this.#hosts.has(hostname) || this.#ends.some((end) => hostname.endsWith(end));
    if (!isListed || port !== "") return refused("is not at an accepted push service (WEB_PUSH_HOSTS)");
    return { ok: true, isNamed: false };
  }
}

function refused(problem: string): EndpointVerdict {
  return { ok: false, problem };
}
