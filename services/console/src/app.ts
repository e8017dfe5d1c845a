// The console's HTTP application: the page, the SDK it runs, and its calls to the cluster.
// Guarantees: built from what it is given, without listening; no producer key reaches the page.
import fastifyStatic from "@fastify/static";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { Service } from "@petrel/shared/service/open-service";
import type { CallService } from "./call-service.js";
import { addPageHeaders } from "./page-headers.js";
import { refuseForeignPages } from "./refuse-foreign-pages.js";
import { addBrowserRoutes } from "./routes/browser.js";
import { addCreateToken } from "./routes/create-token.js";
import { addPhoneRoutes } from "./routes/phone.js";
import { addReadMessage } from "./routes/read-message.js";
import { addSendMessage } from "./routes/send-message.js";
import { addShowConfig } from "./routes/show-config.js";

export interface ConsoleDeps {
  readonly service: Pick<Service, "version" | "tls" | "logger">;
  readonly callAuth: CallService;
  readonly callCollect: CallService;
  /** The APNs simulator's control API; undefined if there is none: then the page shows no phone. */
  readonly callApns: CallService | undefined;
  /** The Web Push simulator's control API; undefined if there is none: then the page shows no browser. */
  readonly callWebPush: CallService | undefined;
  readonly nodeUrls: readonly string[];
  /** Host names besides the loopback's. */
  readonly ownNames: readonly string[];
  /** The directory of index.html. */
  readonly pageDirectory: string;
  /** The directory of the built SDK, with client.js. */
  readonly sdkDirectory: string;
}

/** Fits a message of the largest size, and the JSON around it. */
const BODY_LIMIT_BYTES = 128 * 1024;

/** Builds the application without listening; call `ready()` or `listen()` on it. */
export async function buildApp(deps: ConsoleDeps): Promise<HttpApp> {
  const { version, tls, logger } = deps.service;
  const app = await buildHttpApp({
    tls,
    service: "console",
    version,
    logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    // Failing services show on the page; the console itself is ready.
    readiness: () => ({ ready: true, checks: {} }),
  });
  refuseForeignPages(app, deps.ownNames);
  addPageHeaders(app, deps.nodeUrls);
  addShowConfig(app, {
    nodeUrls: deps.nodeUrls,
    hasPhones: deps.callApns !== undefined,
    hasBrowsers: deps.callWebPush !== undefined,
  });
  addCreateToken(app, deps.callAuth);
  addSendMessage(app, deps.callCollect);
  addReadMessage(app, deps.callCollect);
  addPhoneRoutes(app, deps);
  addBrowserRoutes(app, deps);
  const files = { cacheControl: true, maxAge: 0, dotfiles: "ignore" } as const;
  await app.register(fastifyStatic, { ...files, root: deps.pageDirectory });
  await app.register(fastifyStatic, {
    ...files,
    root: deps.sdkDirectory,
    prefix: "/sdk/",
    decorateReply: false,
    allowedPath: (path) => path.endsWith(".js"),
  });
  return app;
}
