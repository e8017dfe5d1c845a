// collect's HTTP application: accepts producers' messages and reports their state.
// Guarantees: built from what it is given, without listening; every route of collect's contract is here or answers 501.
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createReadiness } from "@petrel/shared/kernel/lifecycle/patient-readiness";
import { addJsonBodyReader } from "@petrel/shared/kernel/http/bodies/read-json-body";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { UserEraser } from "@petrel/shared/redis/erasure/erase-user";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import type { Service } from "@petrel/shared/service/open-service";
import { documentedRules } from "./contract/documented-rules.js";
import { AcceptWithRetry } from "./accept/accept-with-retry.js";
import { RequestAcceptance } from "./accept/prepare-messages.js";
import type { AcceptanceCounts } from "./accept/acceptance-counts.js";
import {
  decorateWithProducer,
  RememberedProducers,
} from "@petrel/shared/security/producers/authorize-producer";
import { createRequestLimiter, type RequestLimits } from "@petrel/shared/security/requests/limit-requests";
import { addBatchRoutes } from "./routes/batch-routes.js";
import { addExpressLane } from "./routes/express-lane.js";
import { UserErasure } from "./users/erase-user.js";
import type { MessageLimits } from "./accept/limit-messages.js";
import type { StoreMessage } from "./accept/store-message.js";
import type { KeptTopics } from "./topics/keep-topics.js";
import type { CancelMessages } from "./recall/cancel-messages.js";
import type { EventCounts } from "./events/event-counts.js";
import { addEventRoutes } from "./routes/event-routes.js";
import { addMessageRoutes } from "./routes/message-routes.js";
import { addPresenceRoutes } from "./routes/presence-routes.js";
import { addKeptTopicRoutes } from "./routes/kept-topic-routes.js";
import { addTopicLogRoutes } from "./routes/topic-log-routes.js";
import { addUserRoutes } from "./routes/user-routes.js";

export interface CollectDeps {
  readonly service: Pick<
    Service,
    "version" | "tls" | "logger" | "clock" | "tracing" | "lifecycle" | "requests" | "compiledSchemas"
  >;
  /** The express lane supports no others. */
  readonly requestLimits: Pick<RequestLimits, "trustedProxies" | "failedAuths" | "counts">;
  readonly authenticator: ProducerAuthenticator;
  readonly scripts: ScriptRunner;
  readonly audit: AuditLog;
  readonly eraser: Pick<UserEraser, "erase">;
  readonly partitions: readonly PartitionKeys[];
  readonly store: StoreMessage;
  readonly topicRules: { ruleOf(topic: string): TopicRule };
  readonly keptTopics: Pick<KeptTopics, "keep" | "drop">;
  readonly cancels: Pick<CancelMessages, "cancel">;
  /** Set if one is configured. */
  readonly archive: Pick<MessageArchive, "find" | "list"> | undefined;
  readonly counts: AcceptanceCounts;
  readonly eventCounts: EventCounts;
  readonly limits: MessageLimits;
  readonly devices: Pick<DevicesStore, "list">;
  /** The most messages that one user may get in the window of that limit; 0 means no limit. */
  readonly receiveLimit: number;
  /** How long storing a request's messages may take. */
  readonly acceptDeadlineMs: number;
  /** The longest that one store call takes to answer or fail. */
  readonly storeAttemptMs: number;
  readonly readyWithoutRedisMs: number;
}

/** The limit of a request's body, unpacked. */
const BODY_LIMIT_BYTES = 8 * 1024 * 1024;
/** A query about 200 users with the longest names fits into one request line. */
const MAX_HEADER_BYTES = 32 * 1024;

/** Builds the application without listening; call `ready()` or `listen()` on it. */
export async function buildApp(deps: CollectDeps): Promise<HttpApp> {
  const { authenticator, requestLimits, scripts, partitions } = deps;
  const { version, tls, logger, clock, tracing, requests: watch, compiledSchemas } = deps.service;
  const app = await buildHttpApp({
    tls,
    service: "collect",
    version,
    logger,
    requests: watch,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    bounds: { maxHeaderBytes: MAX_HEADER_BYTES },
    compiledSchemas,
    trustedProxies: requestLimits.trustedProxies,
    documented: true,
    documentedRules,
    readiness: createReadiness({
      patient: { redis: () => awaitAnswer(pingRedis(scripts.redis)) },
      patienceMs: deps.readyWithoutRedisMs,
      clock,
    }),
  });
  const requests = new RequestAcceptance({
    messages: new AcceptWithRetry({
      store: deps.store,
      attemptMs: deps.storeAttemptMs,
      clock,
      counts: deps.counts,
    }),
    topicRules: deps.topicRules,
    partitionCount: partitions.length,
    deadlineMs: deps.acceptDeadlineMs,
    clock,
    tracing,
  });
  addJsonBodyReader(app, BODY_LIMIT_BYTES);
  const limiter = createRequestLimiter({ authenticator, ...requestLimits });
  decorateWithProducer(app, limiter.shares);
  limiter.limit(app);
  const { limits, cancels, archive } = deps;
  const senders = new RememberedProducers(authenticator);
  const { devices, receiveLimit } = deps;
  addMessageRoutes(app, {
    authenticator,
    senders,
    requests,
    limits,
    cancels,
    archive,
    scripts,
    partitions,
    devices,
    receiveLimit,
  });
  addBatchRoutes(app, { authenticator, senders, requests, limits });
  addUserRoutes(app, {
    authenticator,
    scripts,
    audit: deps.audit,
    erasure: new UserErasure({ eraser: deps.eraser, audit: deps.audit }),
    partitions,
    archive,
    devices,
  });
  const { topicRules } = deps;
  addTopicLogRoutes(app, { authenticator, scripts, partitions, topicRules, archive });
  addKeptTopicRoutes(app, { authenticator, keptTopics: deps.keptTopics, scripts, partitions });
  addPresenceRoutes(app, { authenticator, scripts, partitions, topicRules });
  const { stopping } = deps.service.lifecycle;
  addEventRoutes(app, { authenticator, scripts, partitions, counts: deps.eventCounts, logger, stopping });
  addExpressLane(app, { senders, requests, limits, logger, watch });
  return app;
}
