// The HTTP application under every service: error shape, health, version, documentation.
// Guarantees: every error has the contract's shape, including the framework's own. Nothing in a request is coerced or
// stripped.
import type { Socket } from "node:net";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from "fastify";
import { TrustedProxies } from "./client-address.js";
import { Registry } from "../metrics/metrics.js";
import { PetrelError } from "../errors.js";
import { answerClientError, answerForNode } from "./answer-below-framework.js";
import { BodiesUnderWay } from "./bodies-under-way.js";
import { checkHead } from "./check-head.js";
import { applyHttpBounds, defaultHttpBounds, nodeServerOptions, type HttpBounds } from "./http-bounds.js";
import { defaultLingerBounds, LingeringSockets } from "./lingering-sockets.js";
import { findOutOfFiles } from "../logging/out-of-files.js";
import { Outage } from "../logging/outage.js";
import { createRareLog, type RareLog } from "../logging/rare-log.js";
import { HttpSockets } from "./stop-serving.js";
import type { Logger } from "../logging/logging.js";
import { mayIgnoreBody, refuseBody } from "./requests/refuse-body.js";
import { forgetTypeOfNothing, refuseOtherTypes } from "./other-content-types.js";
import { CODE_DEFAULT, type DocumentedRules } from "./openapi-document.js";
import { REQUEST_ID } from "./requests/request-ids.js";
import { describeFailure, pathOf } from "./requests/describe-failure.js";
import { RequestWatch } from "./requests/watch-requests.js";
import { serveDocument } from "./serve-document.js";
import { compileWhenUsed, type CompiledSchemas } from "../schemas/compile-when-used.js";
import type { TlsFiles } from "../tls/tls-files.js";

export type HttpApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export type { FastifyRequest as HttpRequest } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Its requests wait on purpose, such as a long poll, so their durations are not measured. */
    readonly waits?: boolean;
  }
}

export interface Readiness {
  readonly ready: boolean;
  /** Part -> "ok" or what is wrong with it. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface HttpAppOptions {
  readonly service: string;
  readonly version: string;
  readonly logger: Logger;
  readonly readiness: () => Promise<Readiness> | Readiness;
  /** Largest request body in bytes, unpacked. */
  readonly bodyLimitBytes: number;
  /** Served at `/metrics` if only operators reach this listener; otherwise see serveMetrics. */
  readonly metrics?: Registry;
  /** Sees each request; by default its counts go nowhere. */
  readonly requests?: RequestWatch;
  /** Whether `/docs` and `/openapi.json` describe the routes. */
  readonly documented?: boolean;
  /** What that document states on top of the schemas. */
  readonly documentedRules?: DocumentedRules;
  /** The listener's certificate; without one it speaks plain HTTP. */
  readonly tls?: TlsFiles | undefined;
  /** Overrides the default bounds on what clients may make this server hold and wait for. */
  readonly bounds?: Partial<HttpBounds>;
  /** No proxies by default. */
  readonly trustedProxies?: TrustedProxies;
  /** Called when a socket without a request was destroyed to make room for others. */
  readonly onSocketCut?: () => void;
  /** Where a process opens several applications, one after another: what is compiled once serves all. */
  readonly compiledSchemas?: CompiledSchemas | undefined;
}

/** Long enough for a user id of 128 characters, each percent-encoded. */
const MAX_PARAM_LENGTH = 512;
/** A client that is refused early must reconnect if more than this much of its body is left. */
const SMALL_BODY_BYTES = 64 * 1024;
/** Bytes that all bodies under way may hold; more if LARGEST_BODIES of the largest need it. */
const BODIES_BYTES = 64 * 1024 * 1024;
const LARGEST_BODIES = 32;
const BODY_BYTES_PER_SECOND = 64 * 1024;
/** Probes wait about a second; a check that takes longer is reported as too slow. */
const READINESS_MS = 800;

const STOPPING: Readiness = { ready: false, checks: { process: "stopping" } };

/** Builds the application without listening; the caller adds routes before `ready()`. */
export async function buildHttpApp(options: HttpAppOptions): Promise<HttpApp> {
  const { service, version, logger, documentedRules: rules } = options;
  const loggerInstance: FastifyBaseLogger = logger;
  const bounds: HttpBounds = { ...defaultHttpBounds, ...options.bounds };
  const { bodyLimitBytes, trustedProxies = new TrustedProxies([]) } = options;
  const watch = options.requests ?? new RequestWatch(new Registry());
  const lingering = new LingeringSockets(defaultLingerBounds, (address) => trustedProxies.includes(address));
  const refusals = createRareLog(logger);
  const bodies = new BodiesUnderWay(
    {
      max: bounds.maxBodies,
      maxPerAddress: bounds.maxBodiesPerAddress,
      maxBytes: Math.max(BODIES_BYTES, LARGEST_BODIES * bodyLimitBytes),
      baseMs: bounds.bodyTimeoutMs,
      bytesPerSecond: BODY_BYTES_PER_SECOND,
      longestMs: bounds.requestTimeoutMs,
      bodyLimitBytes,
    },
    trustedProxies,
    lingering,
    () => refusals.warn("too many slow bodies: refusing the oldest of the address that has most"),
  );
  const app = fastify({
    loggerInstance,
    genReqId: (request) => watch.idOf(request),
    logController: new LogController({ disableRequestLogging: true }),
    // During a stop, requests on open connections are answered as usual, with `Connection: close`. The framework's own
    // 503 lacks the contract's shape, and a planned stop must not cause errors.
    return503OnClosing: false,
    // It would also limit the stop, which has the process's own deadline.
    pluginTimeout: 0,
    bodyLimit: options.bodyLimitBytes,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: true,
        allErrors: false,
        // Validating schemas would compile the meta-schema; the builders' types already say what a schema may hold.
        validateSchema: false,
        keywords: [CODE_DEFAULT],
      },
    },
    schemaController: { compilersFactory: compileWhenUsed(options.compiledSchemas) },
    frameworkErrors: (error, request, reply) => {
      // No hook runs for a path that cannot be decoded, so count it here.
      watch.begin(request, reply.raw);
      void reply.header(REQUEST_ID, request.id);
      sendError(error, request, reply, refusals);
    },
    clientErrorHandler: (error, socket) => answerClientError(error, socket, { lingering, bodies, watch }),
    ...listenerOptions(bounds, options.tls),
    requestTimeout: nodeServerOptions(bounds).requestTimeout,
    keepAliveTimeout: bounds.keepAliveTimeoutMs,
    connectionTimeout: bounds.silenceTimeoutMs,
  }).withTypeProvider<TypeBoxTypeProvider>();

  options.tls?.serve(app.server);
  const cutHandshakes = applyHttpBounds(
    app.server,
    bounds,
    trustedProxies,
    options.onSocketCut ?? (() => undefined),
  );
  bodies.watch(app.server);
  answerForNode(app.server, { lingering, watch });
  const sockets = new HttpSockets(app.server);
  if (bounds.pendingUntil === "upgrade") {
    app.server.on("upgrade", (_request, socket: Socket) => sockets.release(socket));
  }
  // Accept only JSON: a text body would be taken here and fail later with a worse error.
  app.removeContentTypeParser("text/plain");
  refuseOtherTypes(app);
  // A child logger per request would cost more than the line it writes.
  app.setChildLoggerFactory((parent) => parent);
  app.addHook("onRoute", (route) => {
    const { url, method } = route;
    for (const verb of [method].flat()) if (verb !== "HEAD") watch.route(url, verb);
    if (mayIgnoreBody(route)) route.preValidation = [refuseBody, route.preValidation ?? []].flat();
  });
  app.addHook("onRequest", (request, reply, done) => {
    watch.begin(request, reply.raw);
    void reply.header(REQUEST_ID, request.id);
    if (request.raw.headers["content-type"] !== undefined) forgetTypeOfNothing(request.raw.headers);
    // Before any body is read.
    done(checkHead(request.raw) ?? (request.is404 ? notFound(request) : undefined));
  });
  // Before any hook that reads the body.
  app.addHook("preParsing", (request, reply, _payload, done) => {
    if (request.headers.expect !== undefined) continueIfWanted(request, reply);
    done();
  });
  let isStopping = false;
  app.addHook("preClose", async () => {
    isStopping = true;
    if (!app.server.listening) return;
    await sockets.stop({ bodies, cutHandshakes, windowMs: bounds.stopWindowMs });
  });
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, refusals));
  app.setNotFoundHandler((request, reply) => sendError(notFound(request), request, reply, refusals));

  if (options.documented === true) {
    await serveDocument(app, { service, version, rules });
  }

  app.get("/health/live", { schema: { hide: true } }, () => ({ status: "live" }));
  const files = new Outage({
    logger,
    failing: "out of file descriptors: raise the limit",
    over: "file descriptors are available again",
  });
  app.get("/health/ready", { schema: { hide: true } }, async (_request, reply) => {
    const found = isStopping ? STOPPING : await withinMs(READINESS_MS, options.readiness());
    const { ready, checks } = await withFiles(found, files);
    if (!ready) void reply.header("retry-after", "1");
    return reply.code(ready ? 200 : 503).send({ status: ready ? "ready" : "not ready", checks });
  });
  const { metrics } = options;
  if (metrics !== undefined) {
    app.get("/metrics", { schema: { hide: true } }, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.metrics()),
    );
  }
  app.get("/version", { schema: { hide: true } }, () => ({
    service,
    version,
    node: process.version,
  }));
  return app;
}

/** A TLS server takes the same options and serves the same requests, so the types treat it as the plain one. */
function listenerOptions(bounds: HttpBounds, tls: TlsFiles | undefined) {
  const plain = nodeServerOptions(bounds);
  if (tls === undefined) return { http: plain };
  return { https: { ...plain, ...tls.serverOptions } } as unknown as { readonly http: typeof plain };
}

/** Answers with the contract's error shape and the headers its status asks for. */
function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, refusals: RareLog): void {
  const { status, headers, body } = describeFailure(error, request, { logger: request.log, refusals });
  if (sendsMuch(request)) void reply.header("connection", "close");
  void reply
    .code(status)
    .headers(headers)
    .type("application/json")
    .serializer((text: string) => text)
    .send(body);
}

function notFound({ method, url }: FastifyRequest): PetrelError {
  return new PetrelError("PETREL_NOT_FOUND", `There is no ${method} ${pathOf(url)} here.`);
}

/**
 * Asks for the body, unless the head already ruled the request out. One that is already here is asked for, too: after an
 * answer without it, Node would end the connection.
 */
function continueIfWanted(request: FastifyRequest, { raw }: FastifyReply): void {
  if (request.is404 || raw.headersSent || request.raw.httpVersionMinor === 0) return;
  const { bodyLimit } = request.routeOptions;
  if (Number(request.headers["content-length"] ?? 0) <= bodyLimit) raw.writeContinue();
}

/** Whether much of its body is still to come; then the connection is closed rather than kept to read it. */
function sendsMuch({ raw }: FastifyRequest): boolean {
  if (raw.complete) return false;
  const { headers } = raw;
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"]) > SMALL_BODY_BYTES;
}

/** A process that is out of file descriptors cannot serve new clients, however well its open sockets work. */
async function withFiles({ ready, checks }: Readiness, outage: Outage): Promise<Readiness> {
  const wrong = await findOutOfFiles();
  if (wrong === undefined) {
    outage.end();
    return { ready, checks };
  }
  outage.fail(wrong);
  return { ready: false, checks: { ...checks, files: wrong } };
}

async function withinMs(ms: number, readiness: Promise<Readiness> | Readiness): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<Readiness>((resolve) => {
    const checks = { readiness: `no answer within ${ms} ms` };
    timer = setTimeout(() => resolve({ ready: false, checks }), ms);
  });
  try {
    return await Promise.race([readiness, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
