// Tests only -> start-push-node: a push node in this process, with options for tests.
// Guarantees: the production wiring on a free port; `stop()` closes everything it opened and asks nobody to move.
import { randomBytes } from "node:crypto";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { createMatchOrigin } from "@petrel/shared/security/requests/match-origin";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { openTestService } from "@petrel/shared/testing/open-test-service";
import { readPushNodeConfig, type PushNodeConfig } from "../config.js";
import {
  startPushNode as startNode,
  type PushNodeOverrides,
  type StartedPushNode,
} from "../start-push-node.js";
import { createSteppedClock, type SteppedClock } from "./stepped-clock.js";

export type StartPushNodeOptions = Partial<PushNodeConfig> &
  Omit<PushNodeOverrides, "isDraining" | "counts" | "startsTimers"> & {
    readonly redisUrl: string;
    readonly nodeId?: string;
    /** A running clock by default. */
    readonly clock?: SteppedClock;
    /** Whether leases are renewed from the start; connections are watched only by `watch.tick()`. */
    readonly renewing?: boolean;
  };

export interface PushNode extends Omit<StartedPushNode, "leave"> {
  /** Up to /v1/connect. */
  readonly url: string;
  readonly httpUrl: string;
  readonly nodeId: string;
  readonly clock: SteppedClock;
  /** Close codes, in their order. */
  readonly closes: readonly number[];
  readonly opened: () => number;
  /** Messages written to sockets. */
  readonly sent: () => number;
  /** Handshakes answered with 503. */
  readonly turnedAway: () => number;
  /** Sockets without an upgrade request that had to make room for others. */
  readonly socketsCut: () => number;
  /** Unauthenticated WebSockets that had to make room for others. */
  readonly pushedOut: () => number;
  /** How often a connection had to wait for its pace. */
  readonly paced: () => number;
  readonly metrics: Registry;
  readonly startDraining: () => void;
  /** @param random where in the window each client's moment lies, in [0, 1) */
  readonly drain: (random?: () => number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** No limits, a short drain, and room for more than any test opens. */
const defaults: Partial<PushNodeConfig> = {
  host: "127.0.0.1",
  port: 0,
  connectsPerAddressPerMinute: 0,
  connectsPerUserPerMinute: 0,
  framesPerUserPerSecond: 0,
  receivePerUserPerSecond: 0,
  connectsPerSecond: 100_000,
  connectWaitMs: 0,
  maxPendingPerAddress: 4_000,
  maxUnauthenticatedPerAddress: 1_000,
  drainWindowMs: 500,
};

export async function startPushNode(options: StartPushNodeOptions): Promise<PushNode> {
  const {
    nodeId = `node.${randomBytes(6).toString("hex")}`,
    clock = createSteppedClock(),
    renewing = false,
    verifyToken = verifyTestToken,
    isRevoked,
    redeemTicket,
    redisNowMs,
    commandTimeoutMs,
    receiveBurstMs,
    ...settings
  } = options;
  const config: PushNodeConfig = { ...readPushNodeConfig({}), ...defaults, ...settings };
  const service = await openTestService("push-node", config, {
    clock,
    instance: nodeId,
    stopDeadlineMs: 60_000,
  });
  const closes: number[] = [];
  const counted = { opened: 0, sent: 0, turnedAway: 0, socketCut: 0, pushedOut: 0, paced: 0 };
  let isDraining = false;
  const node = await startNode(
    {
      config,
      target: readRedisTarget(config),
      isAllowedOrigin: createMatchOrigin(config.allowedOrigins),
    },
    service,
    {
      verifyToken,
      isRevoked,
      redeemTicket,
      redisNowMs,
      commandTimeoutMs,
      receiveBurstMs,
      isDraining: () => isDraining,
      startsTimers: false,
      counts: {
        opened: () => void counted.opened++,
        closed: (code) => void closes.push(code),
        sent: (count) => void (counted.sent += count),
        turnedAway: () => void counted.turnedAway++,
        socketCut: () => void counted.socketCut++,
        pushedOut: () => void counted.pushedOut++,
        paced: () => void counted.paced++,
      },
    },
  );
  if (renewing) node.renewal.start();
  const { port, registry, redis, leave } = node;
  return {
    ...node,
    url: `ws://127.0.0.1:${port}/v1/connect`,
    httpUrl: `http://127.0.0.1:${port}`,
    nodeId,
    clock,
    closes,
    opened: () => counted.opened,
    sent: () => counted.sent,
    turnedAway: () => counted.turnedAway,
    socketsCut: () => counted.socketCut,
    pushedOut: () => counted.pushedOut,
    paced: () => counted.paced,
    metrics: service.metrics,
    startDraining: () => {
      isDraining = true;
    },
    drain: (random) => {
      isDraining = true;
      return leave(random);
    },
    stop: async () => {
      isDraining = true;
      for (const connection of registry.all()) connection.terminate();
      await service.lifecycle.stop("the test is over");
      redis.disconnect();
    },
  };
}

/**
 * "user.ID" is a valid token of that user; "until.MS.ID" one that expires at that time; "claims.…" contains its own
 * claims, see `tokenWith`; "expired.ID" has expired, "down" cannot be checked now, anything else is invalid.
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
      throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token has expired.");
    case "down":
      throw new PetrelError("PETREL_UNAVAILABLE", "Auth does not answer.");
    default:
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is wrong.");
  }
};

type TestClaims = Partial<VerifiedToken> & Pick<VerifiedToken, "userId">;

/** A token with these claims that `verifyTestToken` accepts. */
export function tokenWith(claims: TestClaims): string {
  return `claims.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
}
