// Keeps pages of other sites away from the console, which makes tokens for any user.
// Guarantees: a host name that is not the console's own is refused, which defeats DNS rebinding. A request that a
// browser sends for a page of another origin is refused, which defeats cross-site requests.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

/** For probes, which may use any address; these routes reveal and change nothing. */
const openPaths = ["/health/live", "/health/ready", "/version"];

/** @param ownNames host names besides this machine's loopback names */
export function refuseForeignPages(app: HttpApp, ownNames: readonly string[]): void {
  const names = new Set(ownNames.map((name) => name.toLowerCase()));
  app.addHook("onRequest", async (request) => {
    const path = request.url.split("?", 1)[0] ?? "";
    if (openPaths.includes(path)) return;
    const host = request.headers.host ?? "";
    const name = hostName(host);
    if (name === undefined || !(isLoopback(name) || names.has(name))) {
      throw refused(`This console does not answer under the name ${JSON.stringify(host)}.`);
    }
    const { origin } = request.headers;
    if (origin !== undefined && hostOf(origin) !== host.toLowerCase()) {
      throw refused(`Pages of ${origin} may not call this console.`);
    }
    // Fetch Metadata: browsers send it even without an Origin. Following a link (GET) is fine.
    const site = request.headers["sec-fetch-site"];
    const isForeign = site === "cross-site" || site === "same-site";
    if (isForeign && request.method !== "GET" && request.method !== "HEAD") {
      throw refused("Pages of other sites may not call this console.");
    }
  });
}

function refused(message: string): PetrelError {
  return new PetrelError("PETREL_ORIGIN_REFUSED", message);
}

/** Without the port; undefined if the header is not a host. */
function hostName(host: string): string | undefined {
  return /^[\w.:[\]-]+$/.test(host) ? parseUrl(`http://${host}`)?.hostname : undefined;
}

function hostOf(origin: string): string | undefined {
  const url = parseUrl(origin);
  return url?.protocol === "http:" || url?.protocol === "https:" ? url.host : undefined;
}

function isLoopback(name: string): boolean {
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
