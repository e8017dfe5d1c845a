// Tests only: a page that imports the client from "/sdk/client.js", on a server of its own.
// Guarantees: the client is what was built, in one file, so that a page is two requests instead of seventy; the
// console's page (test/browser/browser.test.ts) loads it file by file. "/after/300" is answered after 300 ms, "/held" by
// `release`; every other address is another page.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { bundleClient } from "./bundle-page.js";

export interface ServedPage {
  readonly origin: string;
  /** Answers those who wait at "/held". */
  readonly release: () => void;
  readonly close: () => void;
}

export async function servePage(html: string): Promise<ServedPage> {
  const client = await bundleClient();
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    const isClient = path === "/sdk/client.js";
    response.setHeader("content-type", isClient ? "text/javascript" : "text/html");
    if (path === "/held") return void held.push(response);
    const afterMs = Number(/^\/after\/(\d+)$/.exec(path)?.[1] ?? 0);
    setTimeout(() => response.end(isClient ? client : path === "/" ? html : "elsewhere"), afterMs);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    release: () => {
      for (const response of held.splice(0)) response.end();
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
