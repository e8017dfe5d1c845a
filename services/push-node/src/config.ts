// push-node: its environment.
// Guarantees: validated and frozen; docs/operate/configuration.md is made from this schema.
import {
  commonSettings,
  portSetting,
  recordSettings,
  redisSettings,
} from "@petrel/shared/kernel/common-settings";
import {
  choice,
  ConfigError,
  flag,
  integer,
  list,
  optionalText,
  readConfig,
  url,
} from "@petrel/shared/kernel/config";
import { archiveSettings, archiveWritingSettings } from "@petrel/shared/archive/archive-settings";
import { eventSettings } from "@petrel/shared/kernel/events/event-settings";
import { tracingSettings } from "@petrel/shared/kernel/tracing/tracing-settings";
import { topicsSettings } from "@petrel/shared/kernel/topics/topics-settings";
import { parseAcceptDurability, type AcceptDurability } from "@petrel/shared/redis/accept/confirm-writes";
import { readRedisTarget, type RedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { createMatchOrigin, type MatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { tokenSettings } from "@petrel/shared/security/tokens/token-settings";

export const pushNodeSettings = {
  ...commonSettings,
  ...redisSettings,
  ...tracingSettings,
  port: portSetting(7110),
  nodeName: optionalText(
    "NODE_NAME",
    "this node's name in routes, by default the host's; each start appends a fresh suffix",
  ),
  authUrl: url("AUTH_URL", "the auth service, whose keys verify user tokens", {
    default: "http://127.0.0.1:7101",
    protocols: ["http", "https"],
  }),
  authCaFile: optionalText(
    "AUTH_CA_FILE",
    "PEM file of the authorities that signed auth's certificate, for an https AUTH_URL; the system's by default",
  ),
  authCertFile: optionalText(
    "AUTH_CERT_FILE",
    "PEM file with this node's client certificate, if auth asks for one; with AUTH_KEY_FILE",
  ),
  authKeyFile: optionalText("AUTH_KEY_FILE", "PEM file with the private key of AUTH_CERT_FILE"),
  ...tokenSettings,
  verifyTokens: choice(
    "VERIFY_TOKENS",
    "how user tokens are verified: against auth's published keys (`jwks`), or by asking auth about each (`introspect`)",
    {
      of: ["jwks", "introspect"],
      default: "jwks",
    },
  ),
  introspectKeyFile: optionalText(
    "INTROSPECT_KEY_FILE",
    "file with `key.secret` of a producer key with the scope introspect; needed for VERIFY_TOKENS=introspect",
  ),
  tokenCacheBytes: integer(
    "TOKEN_CACHE_BYTES",
    "memory for verified user tokens, so that a returning one needs no second signature check; about 1 KiB each; 0: none",
    { default: 32 * 1024 * 1024 },
  ),
  tokenInQuery: flag("ALLOW_TOKEN_IN_QUERY", "accept `?token=`; a URL is easily logged on its way", {
    default: false,
  }),
  allowedOrigins: list(
    "ALLOWED_ORIGINS",
    "origins of pages that may connect, such as `https://app.example.com`, `https://*.example.com` for its subdomains, `self` for the name in the request, or `*` for any",
    { default: [] },
  ),
  trustedProxies: list(
    "TRUSTED_PROXIES",
    "addresses or blocks (`10.0.0.0/8`) of proxies that may name the client in X-Forwarded-For; from anyone else the header is ignored",
    { default: [] },
  ),
  headersTimeoutMs: integer(
    "HEADERS_TIMEOUT_MS",
    "how long a socket may take to send its whole upgrade request; a slower one is closed",
    { default: 10_000, min: 100, max: 120_000 },
  ),
  maxPendingSockets: integer(
    "MAX_PENDING_SOCKETS",
    "sockets that may be open without a complete upgrade request",
    {
      default: 4_000,
      min: 1,
    },
  ),
  maxPendingPerAddress: integer(
    "MAX_PENDING_SOCKETS_PER_ADDRESS",
    "of these, from one address; trusted proxies are exempt",
    { default: 1_000, min: 1 },
  ),
  ackTimeoutMs: integer(
    "ACK_TIMEOUT_MS",
    "how long an acknowledgement may take; then the message is nudged, and a timeout later it goes to the fallback; the same for collect, dispatch and push-node",
    {
      default: 10_000,
      min: 100,
    },
  ),
  maxConnectionsPerUser: integer("MAX_CONNECTIONS_PER_USER", "connections one user may have in the cluster", {
    default: 5,
    min: 1,
    max: 1_000,
  }),
  whenUserFull: choice(
    "WHEN_USER_FULL",
    "what happens beyond that: `evict` closes the oldest (4409), `refuse` refuses the newest (4429)",
    {
      of: ["evict", "refuse"],
      default: "evict",
    },
  ),
  routeLeaseMs: integer("ROUTE_LEASE_MS", "how long a connection stays registered without a heartbeat", {
    default: 60_000,
    min: 1_000,
  }),
  routeGraceMs: integer(
    "ROUTE_GRACE_MS",
    "how long a user is expected back after a connection closed without a sign-out (1000)",
    { default: 3_000, max: 60_000 },
  ),
  nodeTtlMs: integer(
    "NODE_TTL_MS",
    "how long this node counts as alive without a sign of life; then its users count as offline",
    {
      default: 6_000,
      min: 500,
    },
  ),
  pingSeconds: integer("PING_SECONDS", "how often a connection is pinged", {
    default: 25,
    min: 1,
    max: 300,
  }),
  authTimeoutMs: integer("AUTH_TIMEOUT_MS", "how long a connection may take to send its credential", {
    default: 5_000,
    min: 100,
  }),
  maxUnauthenticated: integer(
    "MAX_UNAUTHENTICATED",
    "connections that may be open without a verified credential",
    {
      default: 1_000,
      min: 1,
    },
  ),
  maxUnauthenticatedPerAddress: integer(
    "MAX_UNAUTHENTICATED_PER_ADDRESS",
    "of these, from one address (IPv6: one /64); the oldest makes room for the newest",
    { default: 200, min: 1 },
  ),
  connectsPerAddressPerMinute: integer(
    "CONNECTS_PER_ADDRESS_PER_MINUTE",
    "handshakes from one address (IPv6: one /64), in the cluster; more get 429; 0: no limit",
    { default: 3_000 },
  ),
  connectsPerUserPerMinute: integer(
    "CONNECTS_PER_USER_PER_MINUTE",
    "connections one user may open, in the cluster; more get 4429; 0: no limit",
    { default: 120 },
  ),
  framesPerUserPerSecond: integer(
    "FRAMES_PER_USER_PER_SECOND",
    "frames one user may send, in the cluster, not counting acks that make progress; more get 4429; 0: no limit",
    { default: 200 },
  ),
  receivePerUserPerSecond: integer(
    "RECEIVE_PER_USER_PER_SECOND",
    "messages one connection is sent after a burst of ten seconds' worth; the rest wait; 0: no limit",
    { default: 500, max: 100_000 },
  ),
  connectsPerSecond: integer(
    "CONNECTS_PER_SECOND",
    "handshakes admitted per second, so that a returning crowd does not starve the connected",
    { default: 1_000, min: 1, max: 100_000 },
  ),
  connectWaitMs: integer(
    "CONNECT_WAIT_MS",
    "how long a handshake beyond that rate may wait; one that would wait longer gets 503",
    { default: 5_000, max: 30_000 },
  ),
  maxFrameBytes: integer("MAX_FRAME_BYTES", "largest frame a client may send", {
    default: 128 * 1024,
    min: 1_024,
  }),
  maxFragments: integer("MAX_FRAGMENTS", "most fragments of one frame from a client", {
    default: 64,
    min: 1,
  }),
  outboundBoundBytes: integer(
    "OUTBOUND_BOUND_BYTES",
    "bytes buffered for a slow client; the rest is read from its inbox later",
    { default: 256 * 1024, min: 16 * 1024 },
  ),
  slowTimeoutMs: integer("SLOW_TIMEOUT_MS", "how long a client may take no data before it is closed (4408)", {
    default: 15_000,
    min: 500,
  }),
  sessionPolicy: choice(
    "SESSION_POLICY",
    "sign-ins of one user that stay connected, in the cluster: as many as the limit allows (`multi`), one on each platform (`one-per-platform`), or one (`one`); a newer one closes the older (4409)",
    { of: ["multi", "one-per-platform", "one"], default: "multi" },
  ),
  ...recordSettings,
  ...topicsSettings,
  ...archiveSettings,
  ...archiveWritingSettings,
  ...eventSettings,
  maxTopicsPerConnection: integer(
    "MAX_TOPICS_PER_CONNECTION",
    "topics one connection may subscribe to, not counting those the server keeps for its user",
    { default: 100, min: 1, max: 100_000 },
  ),
  topicRingBytes: integer(
    "TOPIC_RING_BYTES",
    "memory for the newest messages of all topics, which serves returning clients without Redis",
    { default: 32 * 1024 * 1024, max: 16 * 1024 * 1024 * 1024 },
  ),
  acceptDurability: {
    env: "ACCEPT_DURABILITY",
    setting: {
      describe:
        "where a message published by a client must be before it is confirmed: `memory`, `aof` or `replicas:N`, as for collect; see redis.md",
      default: { kind: "memory" } as AcceptDurability,
      parse: parseAcceptDurability,
    },
  },
  historySize: integer(
    "INBOX_HISTORY",
    "acknowledged messages that stay readable for a user's other devices",
    {
      default: 100,
    },
  ),
  slowHistorySize: integer(
    "INBOX_SLOW_HISTORY",
    "acknowledged messages kept, at most, for a connected device that is behind; one that is further behind is told",
    { default: 10_000 },
  ),
  rebalancePerSecond: integer(
    "REBALANCE_PER_SECOND",
    "clients per second that a node with more than the others asks to move after a scale-up; 0: none; the same on all nodes; see drain-and-reconnect.md",
    { default: 0, max: 1_000 },
  ),
  rebalanceSettleSeconds: integer(
    "REBALANCE_SETTLE_SECONDS",
    "how long the set of nodes must be unchanged before that begins",
    { default: 60, min: 1, max: 86_400 },
  ),
  drainWindowMs: integer("DRAIN_WINDOW_MS", "time over which a stopping node asks its clients to move", {
    default: 20_000,
  }),
} as const;

/** The fewest messages per acknowledgement timeout that the pace must allow. */
const MIN_PER_ACK_TIMEOUT = 4;

export type PushNodeConfig = ReturnType<typeof readPushNodeConfig>;

export function readPushNodeConfig(environment: Readonly<Record<string, string | undefined>>) {
  const settings = readConfig(pushNodeSettings, environment);
  const { receivePerUserPerSecond: perSecond, ackTimeoutMs } = settings;
  // A paced message falls back unless others of its user are acknowledged meanwhile, so the pace must not be too slow.
  if (perSecond > 0 && perSecond * ackTimeoutMs < MIN_PER_ACK_TIMEOUT * 1_000) {
    throw new ConfigError(
      `RECEIVE_PER_USER_PER_SECOND must be at least ${Math.ceil((MIN_PER_ACK_TIMEOUT * 1_000) / ackTimeoutMs)}, or 0, ` +
        `for an ACK_TIMEOUT_MS of ${ackTimeoutMs}: what waits for its turn would go to the fallback`,
    );
  }
  return settings;
}

export interface PushNodeSettings {
  readonly config: PushNodeConfig;
  readonly target: RedisTarget;
  readonly isAllowedOrigin: MatchOrigin;
}

/**
 * Reads the environment and the files that it names.
 * @throws ConfigError
 */
export function readPushNodeSettings(
  environment: Readonly<Record<string, string | undefined>>,
): PushNodeSettings {
  const config = readPushNodeConfig(environment);
  return {
    config,
    target: readRedisTarget(config),
    isAllowedOrigin: createMatchOrigin(config.allowedOrigins),
  };
}
