// dispatch's HTTP application: for operators; no message passes here.
// Guarantees: built from what it is given, without listening; every route of dispatch's contract is here. Ready while
// Redis answers and the other dispatchers count this one as a member; a failure counts only after a failover's time.
import type { Clock } from "@petrel/shared/kernel/clock";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createReadiness } from "@petrel/shared/kernel/lifecycle/patient-readiness";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { CompiledSchemas } from "@petrel/shared/kernel/schemas/compile-when-used";
import type { TlsFiles } from "@petrel/shared/kernel/tls/tls-files";
import { addJsonBodyReader } from "@petrel/shared/kernel/http/bodies/read-json-body";
import type { RequestWatch } from "@petrel/shared/kernel/http/requests/watch-requests";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { decorateWithProducer } from "@petrel/shared/security/producers/authorize-producer";
import { createRequestLimiter, type RequestLimits } from "@petrel/shared/security/requests/limit-requests";
import { addArchive, type ArchiveRoutesDeps } from "./routes/archive-routes.js";
import { addDeadLetters, type DeadLettersDeps } from "./routes/dead-letters.js";
import { addListInvalidations, type ListInvalidationsDeps } from "./routes/list-invalidations.js";
import { addWebhookActions } from "./routes/webhook-actions.js";
import type { WebhookRoutesDeps } from "./routes/webhook-answers.js";
import { addWebhooks } from "./routes/webhook-routes.js";
import { addShowDiagnosis, type ShowDiagnosisDeps } from "./routes/show-diagnosis.js";
import { addChannelRoutes, type ChannelRoutesDeps } from "./routes/channel-routes.js";
import { addNodeRoutes, type NodeRoutesDeps } from "./routes/node-routes.js";
import { addListPartitions, type ListPartitionsDeps } from "./routes/list-partitions.js";

export interface DispatchDeps
  extends
    NodeRoutesDeps,
    ChannelRoutesDeps,
    ShowDiagnosisDeps,
    ListPartitionsDeps,
    DeadLettersDeps,
    ListInvalidationsDeps,
    WebhookRoutesDeps,
    ArchiveRoutesDeps {
  readonly version: string;
  /** The listener's certificate; without one it speaks plain HTTP. */
  readonly tls?: TlsFiles | undefined;
  /** No limits by default. */
  readonly requestLimits?: RequestLimits;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** By default requests are not counted. */
  readonly requests?: RequestWatch;
  readonly compiledSchemas?: CompiledSchemas | undefined;
  /** Rejects if Redis does not answer. */
  readonly pingRedis: () => Promise<unknown>;
  readonly readyWithoutRedisMs: number;
  readonly clock: Clock;
  /** Whether the membership is fresh. */
  readonly isMember: () => boolean;
}

const BODY_LIMIT_BYTES = 65_536;

/** Builds the application without listening; call `ready()` or `listen()` on it. */
export async function buildApp(deps: DispatchDeps): Promise<HttpApp> {
  const app = await buildHttpApp({
    tls: deps.tls,
    service: "dispatch",
    version: deps.version,
    logger: deps.logger,
    metrics: deps.metrics,
    ...(deps.requests === undefined ? {} : { requests: deps.requests }),
    bodyLimitBytes: BODY_LIMIT_BYTES,
    compiledSchemas: deps.compiledSchemas,
    ...(deps.requestLimits === undefined ? {} : { trustedProxies: deps.requestLimits.trustedProxies }),
    documented: true,
    readiness: createReadiness({
      patient: { redis: deps.pingRedis, membership: () => checkMembership(deps) },
      patienceMs: deps.readyWithoutRedisMs,
      clock: deps.clock,
    }),
  });
  addJsonBodyReader(app, BODY_LIMIT_BYTES);
  const limiter =
    deps.requestLimits === undefined
      ? undefined
      : createRequestLimiter({ authenticator: deps.authenticator, ...deps.requestLimits });
  decorateWithProducer(app, limiter?.shares);
  limiter?.limit(app);
  addListPartitions(app, deps);
  addDeadLetters(app, deps);
  addListInvalidations(app, deps);
  addWebhooks(app, deps);
  addWebhookActions(app, deps);
  addArchive(app, deps);
  addShowDiagnosis(app, deps);
  addNodeRoutes(app, deps);
  addChannelRoutes(app, deps);
  return app;
}

/** Membership is renewed in Redis, so it fails together with Redis. */
async function checkMembership({ isMember }: DispatchDeps): Promise<void> {
  if (!isMember()) throw new Error("not renewed in time");
}
