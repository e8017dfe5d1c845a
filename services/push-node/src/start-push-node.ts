// main.ts, tests -> here -> app: the push node's parts, wired.
// Guarantees: listens only when its channels are subscribed. A stop asks every client to move before anything closes.
// Every part closes with the service's lifecycle.
import type { AddressInfo } from "node:net";
import { systemClock } from "@petrel/shared/kernel/clock";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import type { NodeSubscription } from "@petrel/shared/redis/nodes/node-subscription";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { EventWriting } from "@petrel/shared/redis/scripts/event-writing";
import type { Service } from "@petrel/shared/service/open-service";
import { openServiceRedis } from "@petrel/shared/service/open-service-redis";
import { buildApp } from "./app.js";
import type { PushNodeSettings } from "./config.js";
import { HandshakeAdmission } from "./connect/handshake-admission.js";
import { UserConnects } from "./connect/limit-connects.js";
import { openHandshakes } from "./connect/open-handshakes.js";
import { openRegistrations } from "./connect/open-registrations.js";
import type { LeaseRenewal } from "./connect/renew-leases.js";
import { createConnectionMetrics, type ConnectionMetrics } from "./connection/connection-metrics.js";
import { ConnectionRegistry } from "./connection/connection-registry.js";
import { createConnectionWatch, type ConnectionWatch } from "./connection/watch-connections.js";
import { observeDeliveries } from "./deliver/observe-deliveries.js";
import { openDelivery } from "./deliver/open-delivery.js";
import { ackTimesOf } from "./frames/ack-times.js";
import { CollectAcks } from "./frames/collect-acks.js";
import { openFrames } from "./frames/open-frames.js";
import { joinCluster } from "./node/join-cluster.js";
import { createNodeReadiness } from "./node/node-readiness.js";
import { RedisClocks } from "./node/redis-clocks.js";
import { openFanOut } from "./open-fan-out.js";
import { openLeaving } from "./open-leaving.js";
import { openTokens } from "./tokens/open-tokens.js";
import type { Topics } from "./topics/open-topics.js";

/** How many pages are read, and how many connections register again, at a time. */
const CONCURRENT_CATCH_UPS = 32;
/** The number of beats over which a lease renewal is spread. */
const SLOTS = 20;
/**
 * Connections that the kernel holds until the event loop accepts them; it caps this at net.core.somaxconn (4,096). With
 * Node's 511 a sudden crowd overflows it: some wait for seconds, and some are reset.
 */
const LISTEN_BACKLOG = 4_096;

/** For tests: options that the environment cannot set. */
export interface PushNodeOverrides {
  readonly verifyToken?: VerifyToken | undefined;
  readonly isRevoked?: ((token: VerifiedToken) => Promise<boolean>) | undefined;
  readonly redeemTicket?: ((ticket: string) => Promise<VerifiedToken | undefined>) | undefined;
  readonly redisNowMs?: ((keys: PartitionKeys) => number | undefined) | undefined;
  readonly isDraining?: () => boolean;
  /** Counts instead of the metrics. */
  readonly counts?: ConnectionMetrics;
  readonly commandTimeoutMs?: number | undefined;
  readonly receiveBurstMs?: number | undefined;
  /** Whether leases are renewed and connections watched from the start; true by default. */
  readonly startsTimers?: boolean;
}

export interface StartedPushNode {
  readonly port: number;
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly subscription: NodeSubscription;
  readonly registry: ConnectionRegistry;
  readonly acks: CollectAcks;
  readonly renewal: LeaseRenewal;
  readonly watch: ConnectionWatch;
  readonly limitCounts: LimitCounts;
  readonly topics: Topics;
  /** Asks every client to move, and waits until they have. @param random as in drain-connections */
  readonly leave: (random?: () => number) => Promise<void>;
}

export async function startPushNode(
  { config, target, isAllowedOrigin }: PushNodeSettings,
  service: Service,
  overrides: PushNodeOverrides = {},
): Promise<StartedPushNode> {
  const { instance: nodeId, logger, lifecycle, metrics, clock, ticks } = service;
  const { startsTimers = true } = overrides;
  const recordKeepMs = config.recordKeepHours * 60 * 60 * 1000;
  const history = { history: config.historySize, slowHistory: config.slowHistorySize };

  const tokens = openTokens(config, service);

  // Redis, and what this node knows of it.
  const { redis, scripts, partitions, openLink } = await openServiceRedis(
    service,
    { target, partitions: config.partitions, events: new EventWriting(config.events, config.eventsCap) },
    {
      link: "commands",
      atStop: "quit",
      ...(overrides.commandTimeoutMs === undefined ? {} : { commandTimeoutMs: overrides.commandTimeoutMs }),
    },
  );
  scripts.ends.register(metrics);
  // The machine's own clock, because it measures round trips.
  const clocks = new RedisClocks({ redis, partitions, clock: systemClock, logger });
  lifecycle.onStop("redis clocks", () => clocks.stop());
  await clocks.start();
  const { redisNowMs = (keys: PartitionKeys) => clocks.nowMs(keys) } = overrides;
  const limitCounts = new LimitCounts();
  limitCounts.register(metrics);

  // Connections, and delivery to them.
  const registry = new ConnectionRegistry(SLOTS);
  const counts = overrides.counts ?? createConnectionMetrics(metrics, registry);
  const { observer, stop } = observeDeliveries({ metrics, clocks, tracing: service.tracing, nodeId });
  lifecycle.onStop("traced deliveries", stop);
  const admission = new HandshakeAdmission({
    clock,
    perSecond: config.connectsPerSecond,
    maxWaitMs: config.connectWaitMs,
  });
  const leaving = openLeaving(config, service, { ...overrides, scripts, registry, admission });
  const { moves, isDraining } = leaving;
  const ackTimes = ackTimesOf(config.ackTimeoutMs);
  const acks = new CollectAcks({
    lingerMs: ackTimes.nodeMs,
    scripts,
    registry,
    logger,
    history,
    observer,
    onEpochOver: (connection) => moves.move(connection, true),
  });
  const { presence, topics } = await openFanOut(config, service, {
    redis,
    scripts,
    partitions,
    openLink,
    registry,
    redisNowMs,
    limitCounts,
    recordKeepMs,
  });
  const delivery = openDelivery({
    redis,
    scripts,
    registry,
    acks,
    observer,
    history,
    recordKeepMs,
    outboundBoundBytes: config.outboundBoundBytes,
    pace: {
      perSecond: config.receivePerUserPerSecond,
      onPaced: counts.paced,
      ...(overrides.receiveBurstMs === undefined ? {} : { burstMs: overrides.receiveBurstMs }),
    },
    concurrentCatchUps: CONCURRENT_CATCH_UPS,
    onSent: counts.sent,
    onKeptTopics: (changes) => topics.kept.changed(changes),
    onErased: presence.erased,
    clock,
    logger,
  });

  // How connections are registered, and stay so.
  const userConnects = new UserConnects(config.connectsPerUserPerMinute, limitCounts, clock);
  const { registrations, renewal } = openRegistrations({
    registry,
    routes: {
      scripts,
      nodeId,
      limits: {
        leaseMs: config.routeLeaseMs,
        maxConnectionsPerUser: config.maxConnectionsPerUser,
        whenFull: config.whenUserFull,
        ackTimeoutMs: config.ackTimeoutMs,
        sessionPolicy: config.sessionPolicy,
        ...history,
      },
      userConnects,
      graceMs: config.routeGraceMs,
      redisNowMs,
    },
    delivery,
    moves,
    topics: topics.kept,
    pingSeconds: config.pingSeconds,
    ackWithinMs: ackTimes.clientMs,
    isDraining,
    concurrent: CONCURRENT_CATCH_UPS,
    clock,
    logger,
  });
  const watch = createConnectionWatch({
    registry,
    clock,
    ticks,
    pingSeconds: config.pingSeconds,
    slowTimeoutMs: config.slowTimeoutMs,
  });

  const subscription = await joinCluster({
    redis: await openLink({ role: "push-node-subscriber", link: "subscriber", isUnmeasured: true }),
    scripts,
    ticks,
    partitions,
    nodeId,
    ttlMs: config.nodeTtlMs,
    onText: delivery.receive,
    onBeat: leaving.report,
    onMissed: (what) => {
      void renewal.renewAll(what);
      presence.linkIsBack();
    },
    lifecycle,
    logger,
  });
  if (startsTimers) renewal.start();
  lifecycle.onStop("lease renewal", renewal.stop);
  if (startsTimers) watch.start();
  lifecycle.onStop("connection watch", watch.stop);

  // How clients get in.
  const { verifyToken = tokens.verifyToken } = overrides;
  const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 0 });
  const tickets = new TicketsStore<VerifiedToken>(scripts);
  const frames = openFrames({
    acks,
    perUserPerSecond: config.framesPerUserPerSecond,
    outboundBoundBytes: config.outboundBoundBytes,
    handleTopicFrame: topics.handleFrame,
    tokens: {
      verifyToken,
      isRevoked: overrides.isRevoked ?? ((token) => revocations.isRevoked(token)),
      onRights: (connection) => topics.kept.rightsChanged(connection),
      registerAgain: renewal.renew,
    },
    scripts,
    counts: limitCounts,
    logger,
  });
  const readiness = createNodeReadiness({
    redis,
    subscription,
    checkTokens: tokens.check,
    isDraining,
    connections: registry,
    patienceMs: config.readyWithoutRedisMs,
    clock,
  });
  const app = await buildApp({
    service,
    readiness,
    sockets: {
      headersTimeoutMs: config.headersTimeoutMs,
      max: config.maxPendingSockets,
      maxPerAddress: config.maxPendingPerAddress,
      onCut: counts.socketCut,
    },
    frames: { maxBytes: config.maxFrameBytes, maxFragments: config.maxFragments },
    connect: openHandshakes({
      settings: config,
      isAllowedOrigin,
      trustedProxies: service.trustedProxies,
      credentials: {
        verifyToken,
        redeemTicket: overrides.redeemTicket ?? ((ticket) => tickets.redeem(ticket)),
      },
      admission,
      partitions,
      registrations,
      userConnects,
      frames,
      counts,
      onClosed: (connection) => {
        if (connection !== undefined) {
          observer.closed(connection);
          topics.closed(connection);
        }
        acks.flush();
      },
      isDraining,
      stopping: lifecycle.stopping,
      scripts,
      limitCounts,
      clock,
      logger,
    }),
  });

  // Closes after the drain, so that /metrics shows all of it.
  await service.attach(app);
  const leave = leaving.drainAtStop(acks);
  await app.listen({ port: config.port, host: config.host, backlog: LISTEN_BACKLOG });
  leaving.rebalance();
  const { port } = app.server.address() as AddressInfo;
  logger.info({ port }, "ready");
  return { port, redis, scripts, subscription, registry, acks, renewal, watch, limitCounts, topics, leave };
}
