// services' configurations -> here: the settings that several services share.
// Guarantees: one name, default and bound in all that read the same variable.
import { integer, text, optionalText, optionalInteger, url, share, choice, list } from "./config.js";

/** The settings that every service has. */
export const commonSettings = {
  host: text("HOST", "address to listen on", { default: "0.0.0.0" }),
  metricsPort: optionalInteger("METRICS_PORT", "port of the internal listener with /metrics", {
    max: 65535,
  }),
  metricsHost: text("METRICS_HOST", "address of the internal listener", { default: "127.0.0.1" }),
  logLevel: choice("LOG_LEVEL", "least severe level that is logged", {
    of: ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
    default: "info",
  }),
  accessLogSample: share(
    "ACCESS_LOG_SAMPLE",
    "share of requests that are logged, from 0 (no access log) to 1; above 0, every request answered with 400 or more is logged, up to 100 a second",
    { default: 0 },
  ),
  tlsCertFile: optionalText(
    "TLS_CERT_FILE",
    "PEM file with this service's certificate chain; with it and TLS_KEY_FILE every listener speaks TLS (1.2 or newer); reloaded when it changes; see tls.md",
  ),
  tlsKeyFile: optionalText("TLS_KEY_FILE", "PEM file with the private key of TLS_CERT_FILE"),
  tlsClientCaFile: optionalText(
    "TLS_CLIENT_CA_FILE",
    "PEM file of authorities; with it only clients with a certificate from one of them may connect (mTLS); not for a push node that browsers reach",
  ),
  tlsClientNames: list(
    "TLS_CLIENT_NAMES",
    "only clients with one of these names may connect: a DNS name or URI of the certificate, or its common name",
    { default: [] },
  ),
  metricsTls: choice(
    "METRICS_TLS",
    "TLS of the internal listener: as on the public one (`same`), without client certificates (`server`), or none (`off`); none without TLS_CERT_FILE",
    { of: ["same", "server", "off"], default: "same" },
  ),
  metricsClientCaFile: optionalText(
    "METRICS_CLIENT_CA_FILE",
    "PEM file of authorities for the internal listener, if they differ from TLS_CLIENT_CA_FILE; for METRICS_TLS=same",
  ),
  certificateWarnDays: integer(
    "CERTIFICATE_WARN_DAYS",
    "how many days before it expires a certificate is logged and alerted as due for renewal, or a quarter of its life if that is shorter; see tls.md",
    { default: 14, min: 0, max: 366 },
  ),
} as const;

/** The settings of a service that uses Redis; `readRedisTarget` in shared/redis combines them. */
export const redisSettings = {
  redisUrl: url(
    "REDIS_URL",
    "redis://[user:password@]host:port[/db], or rediss://…; with REDIS_SENTINELS or REDIS_CLUSTER only the scheme, user, password and database are used",
    { default: "redis://127.0.0.1:6379", protocols: ["redis", "rediss"] },
  ),
  redisPasswordFile: optionalText(
    "REDIS_PASSWORD_FILE",
    "file with the Redis password, instead of one in REDIS_URL; read again for each new connection",
  ),
  redisSentinels: optionalText(
    "REDIS_SENTINELS",
    "Redis behind Sentinel, as `master-name@host:port,host:port`; not with REDIS_CLUSTER",
  ),
  redisSentinelPassword: optionalText("REDIS_SENTINEL_PASSWORD", "password of the sentinels"),
  redisSentinelPasswordFile: optionalText(
    "REDIS_SENTINEL_PASSWORD_FILE",
    "file with the sentinels' password, instead of REDIS_SENTINEL_PASSWORD; read again for each new connection",
  ),
  redisCluster: optionalText(
    "REDIS_CLUSTER",
    "Redis Cluster, as `host:port,host:port`; a few nodes are enough, the others are discovered; not with REDIS_SENTINELS",
  ),
  redisCaFile: optionalText(
    "REDIS_CA_FILE",
    "PEM file of the authorities that signed the certificate of a rediss:// server; the system's by default; read again for each new connection",
  ),
  redisCertFile: optionalText(
    "REDIS_CERT_FILE",
    "PEM file with the client certificate for a rediss:// server or sentinel that asks for one (`tls-auth-clients`); with REDIS_KEY_FILE; read again for each new connection",
  ),
  redisKeyFile: optionalText("REDIS_KEY_FILE", "PEM file with the private key of REDIS_CERT_FILE"),
  readyWithoutRedisMs: integer(
    "READY_WITHOUT_REDIS_MS",
    "how long `/health/ready` still answers 200 while Redis is away, in ms; set it longer than a failover takes",
    { default: 30_000, min: 0, max: 3_600_000 },
  ),
  partitions: integer(
    "PARTITIONS",
    "number of partitions that users are divided into; fixed when the cluster is first created",
    { default: 4, min: 1, max: 4096 },
  ),
} as const;

/** The settings of a service that writes the audit log. */
export const auditSettings = {
  auditMaxEntries: integer(
    "AUDIT_MAX_ENTRIES",
    "entries that the audit log keeps, approximately; the oldest are removed first",
    {
      default: 100_000,
      min: 1_000,
      max: 10_000_000,
    },
  ),
  auditKeepDays: integer("AUDIT_KEEP_DAYS", "how long the audit log keeps an entry, in days", {
    default: 365,
    min: 1,
    max: 3_650,
  }),
} as const;

/** Shared by collect and dispatch: both write to the fallback streams, so both apply the bound. */
export const fallbackStreamSettings = {
  fallbackCap: integer(
    "FALLBACK_CAP",
    "entries a fallback stream may hold, per partition and priority; beyond that, messages with `fallback: always` are refused, and others wait in their inbox; the same for collect and dispatch",
    { default: 100_000, min: 1, max: 100_000_000 },
  ),
} as const;

/** What a user may hold. Dispatch needs it too: it accepts scheduled messages when their time comes. */
export const acceptSettings = {
  inboxCap: integer(
    "INBOX_CAP",
    "unacknowledged messages one user may have; beyond that new ones are refused; the same for collect and dispatch",
    { default: 10_000, min: 1, max: 10_000_000 },
  ),
  readyCap: integer(
    "READY_CAP",
    "messages of one partition that may wait for a dispatcher; beyond that new ones get 503; the same for collect and dispatch",
    { default: 100_000, min: 1, max: 100_000_000 },
  ),
  messagesPerUser: integer(
    "MESSAGES_PER_USER_PER_SECOND",
    "messages one user may be sent by all producers together, counted over 10 s; more are refused, and scheduled ones wait; 0: no limit; the same for collect and dispatch",
    { default: 0, max: 1_000_000 },
  ),
} as const;

/** Limits on scheduled messages. */
export const scheduleSettings = {
  schedulesCap: integer(
    "SCHEDULES_CAP",
    "messages that may wait for their `deliverAt`, for one user or topic; beyond that new ones are refused",
    { default: 10_000, min: 1, max: 10_000_000 },
  ),
} as const;

/** How long a message can be looked up by its id. */
export const recordSettings = {
  recordKeepHours: integer(
    "RECORD_KEEP_HOURS",
    "how long `GET /v1/messages/:id` knows a message: after its acceptance or, if it was not acknowledged at once, after its expiry; the same for collect, dispatch and push-node",
    { default: 25, min: 25, max: 72 },
  ),
} as const;

/** The port a service listens on. */
export function portSetting(defaultPort: number) {
  return integer("PORT", "port to listen on", { default: defaultPort, max: 65535 });
}
