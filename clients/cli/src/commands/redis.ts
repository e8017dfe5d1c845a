// `petrel redis failover`.
// Guarantees: connects to Redis and its sentinels with the services' own settings; calls no service.
import { readFileSync } from "node:fs";
import { CliError, describeError, usageError, type ExitCode } from "../cli-error.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import { failOver } from "../redis/redis-failover.js";
import type { RedisAccess, RedisAddress } from "../redis/redis-link.js";
import type { Terminal } from "../terminal.js";
import { parseUrl } from "../parse-url.js";

export const redisOptions = {
  sentinels: { type: "string" },
  url: { type: "string" },
  "password-file": { type: "string" },
  "ca-file": { type: "string" },
  "cert-file": { type: "string" },
  "key-file": { type: "string" },
  "pause-seconds": { type: "string" },
  "deadline-seconds": { type: "string" },
  json: { type: "boolean" },
} as const;

const DEFAULT_SENTINEL_PORT = 26_379;
const DEFAULT_PAUSE_SECONDS = 5;
const DEFAULT_DEADLINE_SECONDS = 20;

export async function runRedis(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name !== "failover") throw usageError("which action for redis? Choose from: failover.");
  const { values } = readArguments(rest, redisOptions, []);
  const { environment, note, print, interrupted } = terminal;
  const sentinels = values.sentinels ?? environment["REDIS_SENTINELS"];
  if (sentinels === undefined) throw usageError("--sentinels is missing");
  const url = values.url ?? environment["REDIS_URL"] ?? "redis://";
  const redisAccess = readAccess(url, {
    passwordFile: values["password-file"] ?? environment["REDIS_PASSWORD_FILE"],
    caFile: values["ca-file"] ?? environment["REDIS_CA_FILE"],
    certFile: values["cert-file"] ?? environment["REDIS_CERT_FILE"],
    keyFile: values["key-file"] ?? environment["REDIS_KEY_FILE"],
  });
  const pauseSeconds = wholeNumber("--pause-seconds", values["pause-seconds"], 1) ?? DEFAULT_PAUSE_SECONDS;
  const deadlineSeconds =
    wholeNumber("--deadline-seconds", values["deadline-seconds"], 1) ?? DEFAULT_DEADLINE_SECONDS;
  const { from, to, pausedMs } = await failOver({
    ...readSentinels(sentinels),
    redisAccess,
    sentinelAccess: { password: readSentinelPassword(environment), tls: redisAccess.tls },
    pauseMs: pauseSeconds * 1_000,
    deadlineMs: deadlineSeconds * 1_000,
    note,
    interrupted,
  });
  const writesWaitedMs = Math.round(pausedMs);
  print(
    values.json === true
      ? JSON.stringify({ from, to, writesWaitedMs })
      : `failed over from ${from} to ${to}; writes waited ${writesWaitedMs} ms`,
  );
  return 0;
}

function readSentinels(text: string): { masterName: string; sentinels: readonly RedisAddress[] } {
  const [, masterName, list] = /^([^@\s]+)@(.+)$/.exec(text) ?? [];
  if (masterName === undefined || list === undefined) {
    throw usageError(`--sentinels must be master-name@host:port,host:port, not ${JSON.stringify(text)}`);
  }
  const sentinels = list.split(",").map((word) => {
    const [, host, port] = /^\s*(\[[0-9A-Fa-f:.]+\]|[^\s:]+)(?::(\d{1,5}))?\s*$/.exec(word) ?? [];
    if (host === undefined) throw usageError(`--sentinels: ${JSON.stringify(word)} is not host:port`);
    return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port ?? DEFAULT_SENTINEL_PORT) };
  });
  return { masterName, sentinels };
}

interface AccessFiles {
  readonly passwordFile: string | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

export function readAccess(text: string, files: AccessFiles): RedisAccess {
  const { passwordFile, caFile, certFile, keyFile } = files;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw usageError("--cert-file and --key-file go together");
  }
  const scheme = /^(rediss?):\/\//.exec(text)?.[1];
  if (scheme === undefined) throw usageError("--url must begin with redis:// or rediss://");
  const url = parseUrl(text);
  const username = url?.username === "" ? undefined : url?.username;
  const password = url?.password === "" ? undefined : url?.password;
  const isEncrypted = scheme === "rediss";
  return {
    username: username === undefined ? undefined : decodeURIComponent(username),
    password:
      passwordFile === undefined
        ? password === undefined
          ? undefined
          : decodeURIComponent(password)
        : readSecret(passwordFile),
    tls: isEncrypted
      ? {
          ...(caFile === undefined ? {} : { ca: readText(caFile) }),
          ...(certFile === undefined || keyFile === undefined
            ? {}
            : { cert: readText(certFile), key: readText(keyFile) }),
        }
      : undefined,
  };
}

function readSentinelPassword(environment: Terminal["environment"]): string | undefined {
  const file = environment["REDIS_SENTINEL_PASSWORD_FILE"];
  return file === undefined ? environment["REDIS_SENTINEL_PASSWORD"] : readSecret(file);
}

function readSecret(file: string): string {
  return readText(file).replace(/\r?\n$/, "");
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new CliError(`cannot read ${file}: ${describeError(cause)}`, { cause });
  }
}
