// push-node: composition root: config -> adapters -> app; the only reader of process.env here.
// Guarantees: ready only when its channels are subscribed; a stop asks every client to move first.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "@petrel/shared/kernel/clock";
import { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import { createReadiness } from "@petrel/shared/kernel/lifecycle/patient-readiness";
import { configOrExit, runService, type Lifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { openListenerTls } from "@petrel/shared/kernel/tls/listener-tls";
import { createLogger, type Logger } from "@petrel/shared/kernel/logging/logging";
import { serveMetrics } from "@petrel/shared/kernel/http/serve-metrics";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { openTracing } from "@petrel/shared/kernel/tracing/open-tracing";
import { SpanCounts } from "@petrel/shared/kernel/tracing/span-counts";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { checkServer } from "@petrel/shared/redis/connection/check-server";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { allPartitionKeys, type PartitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { subscribeNode } from "@petrel/shared/redis/nodes/node-subscription";
import { RedisMetrics } from "@petrel/shared/redis/connection/redis-metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import { announceWhileRunning } from "./node/announce-node.js";
import { buildApp } from "./app.js";
import { createCatchUp } from "./deliver/catch-up.js";
import { createCheckEpoch } from "./deliver/check-epoch.js";
import { CollectAcks } from "./frames/collect-acks.js";
import { readPushNodeConfig, type PushNodeConfig } from "./config.js";
import { ConnectionRegistry } from "./connection/connection-registry.js";
import { createConnectionMetrics } from "./connection/connection-metrics.js";
import { createDeliver } from "./deliver/deliver.js";
import { drainConnections } from "./leave/drain-connections.js";
import { createDrainMetrics } from "./leave/drain-metrics.js";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import { createHandleFrame } from "./frames/handle-frame.js";
import { HandshakeAdmission } from "./connect/handshake-admission.js";
import { markConnectionsLeaving, notYetMoving } from "./leave/mark-connections-leaving.js";
import { createMeasureLatency } from "./deliver/measure-latency.js";
import { MoveConnections } from "./leave/move-connections.js";
import { createNodeLimits } from "./node-limits.js";
import { ReceivePace } from "./deliver/pace-receiving.js";
import { createReceiveEnvelopes } from "./deliver/receive-envelopes.js";
import { RedisClocks } from "./node/redis-clocks.js";
import { createRenewToken } from "./frames/renew-token.js";
import { createLeaseRenewal } from "./connect/renew-leases.js";
import { bothOf } from "./deliver/delivery-observer.js";
import { createTraceDeliveries } from "./deliver/trace-deliveries.js";
import { addTokenGauges } from "./tokens/token-metrics.js";
import { createTokenVerification } from "./tokens/token-verification.js";
import { UnauthenticatedConnections } from "./connect/unauthenticated-connections.js";
import { createConnectionWatch } from "./connection/watch-connections.js";

/** Pages read, and connections registered again, at a time. */
const CONCURRENT_CATCH_UPS = 32;
/** Beats a lease renewal is spread over. */
const SLOTS = 20;

const config = configOrExit("push-node", () => readPushNodeConfig(process.env));
const target = configOrExit("push-node", () => readRedisTarget(config));
const isAllowedOrigin = configOrExit("push-node", () => createMatchOrigin(config.allowedOrigins));
const trustedProxies = configOrExit("push-node", () => new TrustedProxies(config.trustedProxies));
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const nodeId = `${(config.nodeName ?? hostname()).replace(/[^A-Za-z0-9_.-]/g, "-")}.${Date.now().toString(36)}`;
const logger = createLogger({ service: "push-node", level: config.logLevel }).child({ node: nodeId });

await runService({ logger, stopDeadlineMs: config.drainWindowMs + 10_000 }, (lifecycle) =>
  startPushNode(config, logger, lifecycle),
);

async function startPushNode(settings: PushNodeConfig, log: Logger, lifecycle: Lifecycle): Promise<void> {
  const spanCounts = new SpanCounts();
  const tracing = await openTracing(settings, {
    service: "push-node",
    version,
    instance: nodeId,
    counts: spanCounts,
    logger: log,
    lifecycle,
  });
  const tls = await openListenerTls(settings, { logger: log, lifecycle });
  tls.certificates.watch(...target.access.watched(log));
  const redis = await connectRedis({ target, role: "push-node", logger: log });
  lifecycle.onStop("redis", () => void redis.quit().catch(() => redis.disconnect()));
  await checkServer(redis, settings.partitions);
  const scripts = new ScriptRunner(redis);
  const partitions = allPartitionKeys(settings.partitions);
  const registry = new ConnectionRegistry(SLOTS);
  const metrics = createRegistry("push-node", version);
  spanCounts.register(metrics);
  tls.certificates.register(metrics);
  const redisMetrics = new RedisMetrics(metrics, settings.partitions);
  redisMetrics.watch(redis, "commands");
  scripts.ends.register(metrics);
  const measure = createConnectionMetrics(metrics, registry);
  const onLeft = createDrainMetrics(metrics, () => lifecycle.stopping.aborted);
  const clocks = new RedisClocks({ redis, partitions, clock: systemClock, logger: log });
  clocks.start();
  lifecycle.onStop("redis clocks", () => clocks.stop());
  const measured = createMeasureLatency(metrics, clocks);
  const traced = tracing === NO_TRACING ? undefined : createTraceDeliveries({ tracing, nodeId });
  lifecycle.onStop("traced deliveries", () => traced?.stop());
  const observer = traced === undefined ? measured : bothOf(measured, traced);
  const semaphore = new Semaphore(CONCURRENT_CATCH_UPS);

  const inboxHistory = { history: settings.historySize, slowHistory: settings.slowHistorySize };
  const admission = new HandshakeAdmission({
    clock: systemClock,
    perSecond: settings.connectsPerSecond,
    maxWaitMs: settings.connectWaitMs,
  });
  const moves = new MoveConnections({
    scripts,
    registry,
    isCrowded: () => admission.isCrowded,
    clock: systemClock,
    logger: log,
    windowMs: settings.drainWindowMs,
    connectsPerSecond: settings.connectsPerSecond,
  });
  const acks = new CollectAcks({
    scripts,
    registry,
    logger: log,
    history: inboxHistory,
    observer,
    onEpochOver: (connection) => moves.move(connection, true),
  });
  const onSent = measure.sent;
  const pace = new ReceivePace({
    clock: systemClock,
    perSecond: settings.receivePerUserPerSecond,
    onPaced: measure.paced,
  });
  const checkEpoch = createCheckEpoch({ redis, logger: log });
  const catchUp = createCatchUp({
    scripts,
    acks,
    checkEpoch,
    logger: log,
    history: inboxHistory,
    recordKeepMs: settings.recordKeepHours * 60 * 60 * 1000,
    semaphore,
    pace,
    onSent,
    observer,
  });
  const deliver = createDeliver({
    registry,
    acks,
    catchUp,
    checkEpoch,
    outboundBoundBytes: settings.outboundBoundBytes,
    pace,
    onSent,
    observer,
  });
  const counts = new LimitCounts();
  counts.register(metrics);
  const limits = createNodeLimits({ settings, scripts, counts, logger: log });
  const verification = createTokenVerification(settings, log);
  const { verifyToken } = verification;
  tls.certificates.watch(...verification.certificates);
  addTokenGauges(metrics, verification.sources);
  const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 0 });
  const tickets = new TicketsStore<VerifiedToken>(scripts);
  const registerDeps = {
    scripts,
    registry,
    catchUp,
    checkEpoch,
    logger: log,
    nodeId,
    pingSeconds: settings.pingSeconds,
    limits: {
      leaseMs: settings.routeLeaseMs,
      maxConnectionsPerUser: settings.maxConnectionsPerUser,
      whenFull: settings.whenUserFull,
      ackTimeoutMs: settings.ackTimeoutMs,
      sessionPolicy: settings.sessionPolicy,
      ...inboxHistory,
    },
    graceMs: settings.routeGraceMs,
    isDraining: () => lifecycle.stopping.aborted,
    moves,
    redisNowMs: (keys: PartitionKeys) => clocks.nowMs(keys),
  };
  const renewal = createLeaseRenewal({
    ...registerDeps,
    clock: systemClock,
    semaphore: new Semaphore(CONCURRENT_CATCH_UPS),
  });
  const watch = createConnectionWatch({
    registry,
    clock: systemClock,
    pingSeconds: settings.pingSeconds,
    slowTimeoutMs: settings.slowTimeoutMs,
  });

  // Before the first connection registers: what is published from then on is heard.
  const subscriber = await connectRedis({
    target,
    role: "push-node-subscriber",
    logger: log,
  });
  redisMetrics.watchLink(subscriber, "subscriber");
  const subscription = await subscribeNode({
    redis: subscriber,
    partitions,
    nodeId,
    logger: log,
    onText: createReceiveEnvelopes({ registry, deliver, catchUp, acks }),
    onResubscribed: () => void renewal.renewAll("resubscribed"),
  });
  lifecycle.onStop("subscription", subscription.stop);
  const presence = await announceWhileRunning(
    scripts,
    nodeId,
    settings.nodeTtlMs,
    log,
    () => void renewal.renewAll("this node's key had ended"),
  );
  lifecycle.onStop("presence", presence.stop);
  renewal.start();
  lifecycle.onStop("lease renewal", renewal.stop);
  watch.start();
  lifecycle.onStop("connection watch", watch.stop);

  const app = await buildApp({
    ...registerDeps,
    version,
    tls: tls.http,
    partitions,
    clock: systemClock,
    verifyToken,
    redeemTicket: (ticket) => tickets.redeem(ticket),
    takeFrame: limits.takeFrame,
    takeConnectOfAddress: limits.takeConnectOfAddress,
    takeConnectOfUser: limits.takeConnectOfUser,
    handleFrame: createHandleFrame({
      acks,
      takeFrame: limits.takeFrame,
      renewToken: createRenewToken({
        verifyToken,
        isRevoked: (token) => revocations.isRevoked(token),
        registerAgain: renewal.renew,
        logger: log,
      }),
      outboundBoundBytes: settings.outboundBoundBytes,
    }),
    authTimeoutMs: settings.authTimeoutMs,
    onOpened: measure.opened,
    onClosed: (code, connection) => {
      measure.closed(code);
      if (connection !== undefined) observer.closed(connection);
      acks.flush();
    },
    rules: { isAllowedOrigin, tokenInQuery: settings.tokenInQuery },
    trustedProxies,
    headersTimeoutMs: settings.headersTimeoutMs,
    maxPendingSockets: settings.maxPendingSockets,
    maxPendingPerAddress: settings.maxPendingPerAddress,
    onSocketCut: measure.socketCut,
    unauthenticated: new UnauthenticatedConnections({
      max: settings.maxUnauthenticated,
      maxPerAddress: settings.maxUnauthenticatedPerAddress,
      onPushedOut: measure.pushedOut,
    }),
    admission,
    onTurnedAway: measure.turnedAway,
    maxFrameBytes: settings.maxFrameBytes,
    maxFragments: settings.maxFragments,
    readiness: createReadiness({
      patient: {
        redis: () => pingRedis(redis),
        tokens: verification.check,
        subscription: async () => {
          if (!subscription.isActive()) throw new Error("not subscribed");
        },
      },
      atOnce: { draining: () => (lifecycle.stopping.aborted ? "stopping" : undefined) },
      // Some balancers cut the sockets of whom they take out, and all of these would come back at once.
      isHeld: () => registry.size > 0,
      patienceMs: settings.readyWithoutRedisMs,
      clock: systemClock,
    }),
  });
  // Closed after the drain, which is to be seen.
  if (settings.metricsPort !== undefined) {
    const server = await serveMetrics({
      registry: metrics,
      port: settings.metricsPort,
      host: settings.metricsHost,
      tls: tls.metrics,
      health: (path) => app.inject(path),
    });
    lifecycle.onStop("metrics", () => void server.close());
  }
  lifecycle.onStop("http", () => app.close());
  lifecycle.onStop("connections", async () => {
    moves.stop();
    await markConnectionsLeaving({ scripts, connections: notYetMoving(registry), logger: log });
    await drainConnections({
      registry,
      acks,
      clock: systemClock,
      logger: log,
      windowMs: settings.drainWindowMs,
      onLeft,
    });
  });
  await app.listen({ port: settings.port, host: settings.host });
  log.info({ port: settings.port }, "ready");
}
