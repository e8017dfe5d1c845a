// Reads a service's environment by a schema, which also documents it.
// Guarantees: the result is validated and frozen; all errors are reported at once, by name.
import { describeError } from "./errors.js";

export interface Setting<T> {
  readonly describe: string;
  /** Used when the variable is unset, empty or only a line break; without a default the variable is required. */
  readonly default?: T;
  /** Throws an Error whose message completes "NAME must be …". */
  readonly parse: (text: string) => T;
}

export type Schema = Readonly<Record<string, { readonly env: string; readonly setting: Setting<unknown> }>>;

type ValueOf<S extends Schema> = {
  readonly [K in keyof S]: S[K]["setting"] extends Setting<infer T> ? T : never;
};

export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * @param schema setting name -> environment variable and how to read it
 * @param environment usually process.env, passed in by main.ts
 * @throws ConfigError naming every variable that is missing or wrong
 */
export function readConfig<S extends Schema>(
  schema: S,
  environment: Readonly<Record<string, string | undefined>>,
): ValueOf<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, { env, setting }] of Object.entries(schema)) {
    // A Secret created from a file ends with that file's line break.
    const text = environment[env]?.replace(/\r?\n$/, "");
    if (text === undefined || text === "") {
      if ("default" in setting) values[name] = setting.default;
      else problems.push(`${env} is required: ${setting.describe}`);
      continue;
    }
    try {
      values[name] = setting.parse(text);
    } catch (error) {
      problems.push(`${env} must be ${describeError(error)}`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.join("; "));
  return Object.freeze(values) as ValueOf<S>;
}

/** The schema as the lines of a Markdown table, for docs/operate/configuration.md. */
export function documentConfig(schema: Schema): string[] {
  return Object.values(schema).map(({ env, setting }) => {
    const fallback = "default" in setting ? shown(setting.default) : "(required)";
    return `| \`${env}\` | ${fallback} | ${setting.describe} |`;
  });
}

function shown(value: unknown): string {
  if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) return "(none)";
  return `\`${JSON.stringify(value)}\``;
}

function setting<T>(
  env: string,
  describe: string,
  parse: (text: string) => T,
  fallback: { readonly default?: T },
): { readonly env: string; readonly setting: Setting<T> } {
  return { env, setting: { describe, parse, ...fallback } };
}

interface NumberBounds {
  readonly default?: number;
  readonly min?: number;
  readonly max?: number;
}

/** A whole number within bounds. */
export function integer(env: string, describe: string, { min = 0, max = 2 ** 31, ...rest }: NumberBounds) {
  return setting(
    env,
    describe,
    (text) => {
      const value = Number(text);
      if (!/^-?\d+$/.test(text) || value < min || value > max) {
        throw new Error(`a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
      }
      return value;
    },
    rest,
  );
}

export function text(env: string, describe: string, rest: { readonly default?: string } = {}) {
  return setting(env, describe, (value) => value, rest);
}

/** An optional text. */
export function optionalText(env: string, describe: string) {
  return setting<string | undefined>(env, describe, (value) => value, { default: undefined });
}

/** An optional integer, such as a port that opens only if it is set. */
export function optionalInteger(env: string, describe: string, bounds: Omit<NumberBounds, "default"> = {}) {
  const strict = integer(env, describe, bounds);
  return setting<number | undefined>(env, describe, strict.setting.parse, { default: undefined });
}

export function url(
  env: string,
  describe: string,
  { protocols, ...rest }: { readonly default?: string; readonly protocols: readonly string[] },
) {
  return setting(
    env,
    describe,
    (value) => {
      if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol.slice(0, -1))) {
        throw new Error(`a URL with ${protocols.map((p) => `${p}://`).join(" or ")}`);
      }
      return value;
    },
    rest,
  );
}

/** A fraction: 0 to 1. */
export function share(env: string, describe: string, rest: { readonly default?: number }) {
  return setting(
    env,
    describe,
    (text) => {
      const value = Number(text);
      if (!/^(?:0|1|[01]?\.\d+)$/.test(text) || value > 1) {
        throw new Error(`a number from 0 to 1, not ${JSON.stringify(text)}`);
      }
      return value;
    },
    rest,
  );
}

/** One of a fixed set of words. */
export function choice<const C extends readonly string[]>(
  env: string,
  describe: string,
  { of, ...rest }: { readonly of: C; readonly default?: C[number] },
) {
  return setting<C[number]>(
    env,
    describe,
    (value) => {
      const found = of.find((word) => word === value);
      if (found === undefined) throw new Error(`one of ${of.join(", ")}, not ${JSON.stringify(value)}`);
      return found;
    },
    rest,
  );
}

/**
 * One or more of a fixed set of words, separated by commas.
 * @param options.formerly words of earlier releases -> what they are called now
 */
export function choices<const C extends readonly string[]>(
  env: string,
  describe: string,
  {
    of,
    formerly = {},
    ...rest
  }: {
    readonly of: C;
    readonly formerly?: Readonly<Record<string, C[number]>>;
    readonly default?: readonly C[number][];
  },
) {
  return setting<readonly C[number][]>(
    env,
    describe,
    (value) => {
      const given = value.split(",").map((word) => word.trim());
      const words = given.map((word) => (Object.hasOwn(formerly, word) ? formerly[word] : word));
      const found = of.filter((word) => words.includes(word));
      if (found.length !== words.length) {
        throw new Error(`some of ${of.join(", ")}, each once, not ${JSON.stringify(value)}`);
      }
      return found;
    },
    rest,
  );
}

/** Several words whose order counts. */
export function orderedChoices<const C extends readonly string[]>(
  env: string,
  describe: string,
  { of, ...rest }: { readonly of: C; readonly default?: readonly C[number][] },
) {
  return setting<readonly C[number][]>(
    env,
    describe,
    (value) => {
      const given = value.split(",").map((word) => word.trim());
      const found = given.flatMap((word) => of.find((known) => known === word) ?? []);
      if (found.length !== given.length || new Set(found).size !== found.length) {
        throw new Error(`some of ${of.join(", ")}, each once, not ${JSON.stringify(value)}`);
      }
      return found;
    },
    rest,
  );
}

export function flag(env: string, describe: string, rest: { readonly default?: boolean }) {
  return setting(
    env,
    describe,
    (value) => {
      if (value !== "true" && value !== "false")
        throw new Error(`true or false, not ${JSON.stringify(value)}`);
      return value === "true";
    },
    rest,
  );
}

/** Words separated by commas; spaces around them do not count. */
export function list(env: string, describe: string, rest: { readonly default?: readonly string[] }) {
  return setting<readonly string[]>(
    env,
    describe,
    (value) =>
      value
        .split(",")
        .map((word) => word.trim())
        .filter((word) => word !== ""),
    rest,
  );
}

/**
 * A variable of the contract that is not implemented: setting it is an error rather than ignored.
 * @param allowed values that describe what happens anyway
 */
export function notBuilt(env: string, allowed: readonly string[] = []) {
  const describe = allowed.length === 0 ? "not built yet" : `not built yet, but for ${allowed.join(", ")}`;
  return setting<string | undefined>(
    env,
    describe,
    (value) => {
      if (!allowed.includes(value)) throw new Error(`left out: it is ${describe}`);
      return value;
    },
    { default: undefined },
  );
}

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
    "share of the requests that are logged, from 0 (no access log) to 1; above 0 each that is answered with 400 or more is logged, up to 100 a second",
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
    "days before its end from which a certificate is logged and alerted as due for renewal, or a quarter of its life if that is shorter; see tls.md",
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
    "entries that the audit log keeps, approximately; the oldest go first",
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
