// dispatch's HTTP application: for operators; no message passes here.
// Guarantees: built from what it is given, without listening; every route of dispatch's contract is here;
// ready only while Redis answers and the other dispatchers count on this one.
import { describeError } from "@petrel/shared/kernel/errors";
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http-app";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { TlsFiles } from "@petrel/shared/kernel/tls-files";
import { addJsonBodyReader } from "@petrel/shared/kernel/read-json-body";
import type { Registry } from "@petrel/shared/kernel/metrics";
import { decorateWithProducer } from "@petrel/shared/security/authorize-producer";
import { createRequestLimiter, type RequestLimits } from "@petrel/shared/security/limit-requests";
import { addDeadLetters, type DeadLettersDeps } from "./routes/dead-letters.js";
import { addListInvalidations, type ListInvalidationsDeps } from "./routes/list-invalidations.js";
import { addListPartitions, type ListPartitionsDeps } from "./routes/list-partitions.js";

export interface DispatchDeps extends ListPartitionsDeps, DeadLettersDeps, ListInvalidationsDeps {
  readonly version: string;
  /** Its certificate; without one plain HTTP is spoken. */
  readonly tls?: TlsFiles | undefined;
  /** None by default. */
  readonly requestLimits?: RequestLimits;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** Rejects where Redis does not answer. */
  readonly pingRedis: () => Promise<unknown>;
  /** Whether the membership is fresh. */
  readonly isMember: () => boolean;
}

const BODY_LIMIT_BYTES = 65_536;

/** Builds the application; call `ready()` or `listen()` on it. */
export async function buildApp(deps: DispatchDeps): Promise<HttpApp> {
  const app = await buildHttpApp({
    tls: deps.tls,
    service: "dispatch",
    version: deps.version,
    logger: deps.logger,
    metrics: deps.metrics,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    ...(deps.requestLimits === undefined ? {} : { trustedProxies: deps.requestLimits.trustedProxies }),
    documented: true,
    readiness: () => checkReadiness(deps),
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
  return app;
}

async function checkReadiness({ pingRedis, isMember }: DispatchDeps): Promise<Readiness> {
  const checks = {
    redis: await pingRedis().then(() => "ok", describeError),
    membership: isMember() ? "ok" : "not renewed in time",
  };
  return { ready: Object.values(checks).every((check) => check === "ok"), checks };
}
