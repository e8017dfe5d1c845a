// Tests only: a push node in this process, wired as main.ts does, with the knobs that tests turn.
// Guarantees: a free port; everything it opened is closed by `stop()`, which asks nobody to move.
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { TrustedProxies } from "@petrel/shared/kernel/http/client-address";
import { systemClock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { subscribeNode, type NodeSubscription } from "@petrel/shared/redis/nodes/node-subscription";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { SessionPolicy } from "@petrel/shared/redis/nodes/route-store";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { buildApp } from "../app.js";
import { createCatchUp } from "../deliver/catch-up.js";
import { createCheckEpoch } from "../deliver/check-epoch.js";
import { CollectAcks } from "../frames/collect-acks.js";
import { ConnectionRegistry } from "../connection/connection-registry.js";
import { createDeliver } from "../deliver/deliver.js";
import { drainConnections } from "../leave/drain-connections.js";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import { createHandleFrame } from "../frames/handle-frame.js";
import { HandshakeAdmission } from "../connect/handshake-admission.js";
import { markConnectionsLeaving, notYetMoving } from "../leave/mark-connections-leaving.js";
import { MoveConnections } from "../leave/move-connections.js";
import { createNodeLimits } from "../node-limits.js";
import { createMeasureLatency } from "../deliver/measure-latency.js";
import { ReceivePace } from "../deliver/pace-receiving.js";
import { createReceiveEnvelopes } from "../deliver/receive-envelopes.js";
import { RedisClocks } from "../node/redis-clocks.js";
import { createRenewToken } from "../frames/renew-token.js";
import { createLeaseRenewal, type LeaseRenewal } from "../connect/renew-leases.js";
import { UnauthenticatedConnections } from "../connect/unauthenticated-connections.js";
import { createConnectionWatch, type ConnectionWatch } from "../connection/watch-connections.js";
import { createSteppedClock, type SteppedClock } from "./stepped-clock.js";

export interface StartPushNodeOptions {
  readonly redisUrl: string;
  readonly partitions: readonly PartitionKeys[];
  readonly nodeId?: string;
  readonly verifyToken?: VerifyToken;
  readonly redisNowMs?: (keys: PartitionKeys) => number | undefined;
  readonly isRevoked?: (token: VerifiedToken) => Promise<boolean>;
  readonly redeemTicket?: (ticket: string) => Promise<VerifiedToken | undefined>;
  readonly allowedOrigins?: readonly string[];
  readonly tokenInQuery?: boolean;
  readonly trustedProxies?: readonly string[];
  readonly maxUnauthenticated?: number;
  readonly maxUnauthenticatedPerAddress?: number;
  readonly headersTimeoutMs?: number;
  readonly maxPendingSockets?: number;
  readonly maxPendingPerAddress?: number;
  /** Limits are off by default. */
  readonly connectsPerAddressPerMinute?: number;
  readonly connectsPerUserPerMinute?: number;
  readonly framesPerUserPerSecond?: number;
  readonly receivePerSecond?: number;
  readonly receiveBurstMs?: number;
  readonly graceMs?: number;
  /** By default more than any test opens. */
  readonly connectsPerSecond?: number;
  readonly connectWaitMs?: number;
  readonly authTimeoutMs?: number;
  readonly maxFrameBytes?: number;
  readonly maxFragments?: number;
  readonly outboundBoundBytes?: number;
  readonly slowTimeoutMs?: number;
  readonly pingSeconds?: number;
  readonly leaseMs?: number;
  readonly maxConnectionsPerUser?: number;
  readonly whenFull?: "evict" | "refuse";
  readonly sessionPolicy?: SessionPolicy;
  readonly history?: number;
  readonly slowHistory?: number;
  readonly drainWindowMs?: number;
  readonly commandTimeoutMs?: number;
  /** By default one that runs. */
  readonly clock?: SteppedClock;
  /** Whether leases are renewed from the start. */
  readonly renewing?: boolean;
}

export interface PushNode {
  /** Up to /v1/connect. */
  readonly url: string;
  readonly httpUrl: string;
  readonly port: number;
  readonly nodeId: string;
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly subscription: NodeSubscription;
  readonly registry: ConnectionRegistry;
  readonly acks: CollectAcks;
  readonly renewal: LeaseRenewal;
  readonly watch: ConnectionWatch;
  readonly clock: SteppedClock;
  /** Close codes, in their order. */
  readonly closes: readonly number[];
  readonly opened: () => number;
  /** Messages written to sockets. */
  readonly sent: () => number;
  /** Handshakes answered with 503. */
  readonly turnedAway: () => number;
  /** Sockets that had sent no upgrade request and made room for others. */
  readonly socketsCut: () => number;
  /** WebSockets that were nobody's and made room for others. */
  readonly pushedOut: () => number;
  /** Times that a connection had to wait for its pace. */
  readonly paced: () => number;
  /** What the limits refused and asked. */
  readonly counts: LimitCounts;
  readonly metrics: Registry;
  readonly startDraining: () => void;
  /** @param random where in the window each client's moment lies, in [0, 1) */
  readonly drain: (random?: () => number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

export async function startPushNode(options: StartPushNodeOptions): Promise<PushNode> {
  const { redisUrl, partitions, verifyToken = verifyTestToken, outboundBoundBytes = 256 * 1024 } = options;
  const nodeId = options.nodeId ?? `node.${randomBytes(6).toString("hex")}`;
  const logger = createLogger({ service: "test", level: "silent" });
  const clock = options.clock ?? createSteppedClock();
  const redis = await connectRedis({
    url: redisUrl,
    role: "push-node",
    logger,
    commandTimeoutMs: options.commandTimeoutMs ?? 5_000,
  });
  const subscriber = await connectRedis({ url: redisUrl, role: "push-node-subscriber", logger });
  const scripts = new ScriptRunner(redis);
  const registry = new ConnectionRegistry(20);
  const closes: number[] = [];
  let opened = 0;
  let sent = 0;
  let turnedAway = 0;
  let socketsCut = 0;
  let pushedOut = 0;
  let paced = 0;
  let draining = false;
  const onSent = (count: number): void => void (sent += count);
  const metrics = createRegistry("push-node");
  const clocks = new RedisClocks({ redis, partitions, clock: systemClock, logger });
  await clocks.read();
  const observer = createMeasureLatency(metrics, clocks);
  const inboxHistory = { history: options.history ?? 100, slowHistory: options.slowHistory ?? 10_000 };
  const admission = new HandshakeAdmission({
    clock,
    perSecond: options.connectsPerSecond ?? 100_000,
    maxWaitMs: options.connectWaitMs ?? 0,
  });
  const moves = new MoveConnections({
    scripts,
    registry,
    isCrowded: () => admission.isCrowded,
    clock,
    logger,
    windowMs: options.drainWindowMs ?? 500,
    connectsPerSecond: options.connectsPerSecond ?? 100_000,
  });
  const acks = new CollectAcks({
    scripts,
    registry,
    logger,
    history: inboxHistory,
    observer,
    onEpochOver: (connection) => moves.move(connection, true),
  });
  const counts = new LimitCounts();
  const pace = new ReceivePace({
    clock,
    perSecond: options.receivePerSecond ?? 0,
    ...(options.receiveBurstMs === undefined ? {} : { burstMs: options.receiveBurstMs }),
    onPaced: () => void paced++,
  });
  const checkEpoch = createCheckEpoch({ redis, logger });
  const catchUp = createCatchUp({
    scripts,
    acks,
    checkEpoch,
    logger,
    history: inboxHistory,
    semaphore: new Semaphore(32),
    pace,
    onSent,
    observer,
  });
  const deliver = createDeliver({
    registry,
    acks,
    catchUp,
    checkEpoch,
    outboundBoundBytes,
    pace,
    onSent,
    observer,
  });
  const limits = createNodeLimits({
    settings: {
      connectsPerAddressPerMinute: options.connectsPerAddressPerMinute ?? 0,
      connectsPerUserPerMinute: options.connectsPerUserPerMinute ?? 0,
      framesPerUserPerSecond: options.framesPerUserPerSecond ?? 0,
    },
    scripts,
    counts,
    logger,
  });
  const registerDeps = {
    scripts,
    registry,
    catchUp,
    checkEpoch,
    logger,
    nodeId,
    pingSeconds: options.pingSeconds ?? 25,
    limits: {
      leaseMs: options.leaseMs ?? 60_000,
      maxConnectionsPerUser: options.maxConnectionsPerUser ?? 5,
      whenFull: options.whenFull ?? ("evict" as const),
      ackTimeoutMs: 10_000,
      sessionPolicy: options.sessionPolicy ?? ("multi" as const),
      ...inboxHistory,
    },
    graceMs: options.graceMs ?? 3_000,
    isDraining: () => draining,
    moves,
    redisNowMs: options.redisNowMs ?? ((keys: PartitionKeys) => clocks.nowMs(keys)),
  };
  const renewal = createLeaseRenewal({ ...registerDeps, clock, semaphore: new Semaphore(32) });
  const watch = createConnectionWatch({
    registry,
    clock,
    pingSeconds: registerDeps.pingSeconds,
    slowTimeoutMs: options.slowTimeoutMs ?? 15_000,
  });
  const subscription = await subscribeNode({
    redis: subscriber,
    partitions,
    nodeId,
    logger,
    onText: createReceiveEnvelopes({ registry, deliver, catchUp, acks }),
    onResubscribed: () => void renewal.renewAll("resubscribed"),
  });
  if (options.renewing === true) renewal.start();
  const revocations = new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 3_600_000 });
  const tickets = new TicketsStore<VerifiedToken>(scripts);
  const renewToken = createRenewToken({
    verifyToken,
    isRevoked: options.isRevoked ?? ((token) => revocations.isRevoked(token)),
    registerAgain: renewal.renew,
    logger,
  });
  const app = await buildApp({
    ...registerDeps,
    version: "0.0.0-test",
    partitions,
    clock,
    verifyToken,
    redeemTicket: options.redeemTicket ?? ((ticket) => tickets.redeem(ticket)),
    takeFrame: limits.takeFrame,
    takeConnectOfAddress: limits.takeConnectOfAddress,
    takeConnectOfUser: limits.takeConnectOfUser,
    handleFrame: createHandleFrame({ acks, renewToken, takeFrame: limits.takeFrame, outboundBoundBytes }),
    authTimeoutMs: options.authTimeoutMs ?? 5_000,
    onOpened: () => void opened++,
    onClosed: (code) => void closes.push(code),
    rules: {
      isAllowedOrigin: createMatchOrigin(options.allowedOrigins ?? []),
      tokenInQuery: options.tokenInQuery ?? false,
    },
    trustedProxies: new TrustedProxies(options.trustedProxies ?? []),
    headersTimeoutMs: options.headersTimeoutMs ?? 10_000,
    maxPendingSockets: options.maxPendingSockets ?? 4_000,
    maxPendingPerAddress: options.maxPendingPerAddress ?? 4_000,
    onSocketCut: () => void socketsCut++,
    unauthenticated: new UnauthenticatedConnections({
      max: options.maxUnauthenticated ?? 1_000,
      maxPerAddress: options.maxUnauthenticatedPerAddress ?? 1_000,
      onPushedOut: () => void pushedOut++,
    }),
    admission,
    onTurnedAway: () => void turnedAway++,
    maxFrameBytes: options.maxFrameBytes ?? 64 * 1024,
    maxFragments: options.maxFragments ?? 64,
    readiness: () => Promise.resolve({ ready: true, checks: {} }),
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;

  return {
    url: `ws://127.0.0.1:${port}/v1/connect`,
    httpUrl: `http://127.0.0.1:${port}`,
    port,
    nodeId,
    redis,
    scripts,
    subscription,
    registry,
    acks,
    renewal,
    watch,
    clock,
    closes,
    opened: () => opened,
    sent: () => sent,
    turnedAway: () => turnedAway,
    socketsCut: () => socketsCut,
    pushedOut: () => pushedOut,
    paced: () => paced,
    counts,
    metrics,
    startDraining: () => {
      draining = true;
    },
    drain: async (random) => {
      draining = true;
      moves.stop();
      await markConnectionsLeaving({ scripts, connections: notYetMoving(registry), logger });
      const windowMs = options.drainWindowMs ?? 500;
      return drainConnections({
        registry,
        acks,
        clock,
        logger,
        windowMs,
        onLeft: () => undefined,
        ...(random === undefined ? {} : { random }),
      });
    },
    stop: async () => {
      draining = true;
      renewal.stop();
      moves.stop();
      watch.stop();
      for (const connection of registry.all()) connection.terminate();
      await app.close();
      await subscription.stop();
      redis.disconnect();
    },
  };
}

/**
 * "user.ID" is a good token of that user; "until.MS.ID" one that ends at that moment; "claims.…" says itself what is in
 * it, see `tokenWith`; "expired.ID" is over, "down" cannot be checked now, anything else is wrong.
 */
export const verifyTestToken: VerifyToken = async (token) => {
  const [kind, ...rest] = token.split(".");
  const base = { jti: "j", issuedAtMs: 0, generation: 0 };
  switch (kind) {
    case "user":
      return { ...base, userId: rest.join("."), expiresAtMs: Date.now() + 3_600_000 };
    case "until":
      return { ...base, userId: rest.slice(1).join("."), expiresAtMs: Number(rest[0]) };
    case "claims":
      return {
        ...base,
        expiresAtMs: Date.now() + 3_600_000,
        ...(JSON.parse(Buffer.from(rest.join("."), "base64url").toString()) as TestClaims),
      };
    case "expired":
      throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token's time is over.");
    case "down":
      throw new PetrelError("PETREL_UNAVAILABLE", "Auth does not answer.");
    default:
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is wrong.");
  }
};

type TestClaims = Partial<VerifiedToken> & Pick<VerifiedToken, "userId">;

/** A token that `verifyTestToken` takes for good, with these claims. */
export function tokenWith(claims: TestClaims): string {
  return `claims.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
}
