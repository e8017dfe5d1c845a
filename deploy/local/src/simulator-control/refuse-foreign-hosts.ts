// Keeps web pages away from the simulator's control API, which requires no credential.
// Guarantees: answers only under this machine's own names, or a container's name without a dot, which no page on the
// web can have; this defeats DNS rebinding. Never answers a page, of any origin. The health routes are open to
// everybody.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

const openPaths = ["/health/live", "/health/ready", "/version"];

export function refuseForeignHosts(app: HttpApp): void {
  app.addHook("onRequest", async ({ url, headers }) => {
    if (openPaths.includes(url.split("?", 1)[0] ?? "")) return;
    const name = nameOf(headers.host ?? "");
    if (name === undefined || !isOwn(name)) {
      throw new PetrelError("PETREL_ORIGIN_REFUSED", "The simulator does not answer under this name.");
    }
    const site = headers["sec-fetch-site"];
    if (headers.origin !== undefined || (site !== undefined && site !== "none" && site !== "same-origin")) {
      throw new PetrelError("PETREL_ORIGIN_REFUSED", "Pages may not ask the simulator.");
    }
  });
}

/** Without the port; undefined if the header is not a host. */
function nameOf(host: string): string | undefined {
  return /^[\w.:[\]-]+$/.test(host) ? parseUrl(`http://${host}`)?.hostname : undefined;
}

function isOwn(name: string): boolean {
  return name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name) || /^[a-z0-9-]+$/i.test(name);
}
