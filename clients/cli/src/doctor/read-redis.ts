// doctor/doctor -> here -> redis/redis-link: the facts about a Redis that dispatch would report, without any service.
// Guarantees: reads only.
import { performance } from "node:perf_hooks";
import { CliError, usageError } from "../cli-error.js";
import { readAccess } from "../commands/redis.js";
import { RedisLink } from "../redis/redis-link.js";
import type { Terminal } from "../terminal.js";
import type { ServerFacts } from "./judge-redis.js";
import { parseUrl } from "../parse-url.js";

export interface RedisRead {
  readonly facts: ServerFacts;
  /** The partition count that the data was laid out for. */
  readonly stored: number | undefined;
}

const ROUND_TRIPS = 5;
const DEFAULT_PORT = 6379;

/**
 * The password and certificates may be in files, named by the services' own variables.
 * @param text redis:// or rediss://, with user and password
 */
export async function readRedis(
  text: string,
  { environment }: Pick<Terminal, "environment">,
): Promise<RedisRead> {
  const url = parseUrl(text);
  if (url === undefined || !["redis:", "rediss:"].includes(url.protocol)) {
    throw usageError("--redis-url must begin with redis:// or rediss://");
  }
  const address = { host: url.hostname, port: url.port === "" ? DEFAULT_PORT : Number(url.port) };
  const server = `${address.host}:${address.port}`;
  const access = readAccess(text, {
    passwordFile: environment["REDIS_PASSWORD_FILE"],
    caFile: environment["REDIS_CA_FILE"],
    certFile: environment["REDIS_CERT_FILE"],
    keyFile: environment["REDIS_KEY_FILE"],
  });
  let link: RedisLink | undefined;
  try {
    link = await RedisLink.open(address, access);
    return await readAll(link, server, url.pathname.replace(/^\//, ""));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { facts: { server, problem: error.message }, stored: undefined };
  } finally {
    link?.close();
  }
}

async function readAll(link: RedisLink, server: string, database: string): Promise<RedisRead> {
  if (database !== "") await link.ask("SELECT", database);
  let best = { roundTripMs: Infinity, clockAheadMs: 0 };
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const [startMs, beforeMs] = [performance.now(), Date.now()];
    const reply = await link.ask("TIME");
    const roundTripMs = performance.now() - startMs;
    const [seconds = 0, microseconds = 0] = Array.isArray(reply) ? reply.map(Number) : [];
    const clockAheadMs = Math.round(seconds * 1_000 + microseconds / 1_000 - beforeMs - roundTripMs / 2);
    if (roundTripMs < best.roundTripMs) best = { roundTripMs, clockAheadMs };
  }
  const text = String(await link.ask("INFO"));
  const info = Object.fromEntries(
    text.split("\r\n").flatMap((line): [string, string][] => {
      const [, name, value] = /^(\w+):(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
  // On a cluster another node may have it; then it is not judged.
  const stored = await link.ask("GET", "petrel:partition-count").catch(() => undefined);
  const defaultUser = readUser(await link.ask("ACL", "GETUSER", "default").catch(() => undefined));
  return {
    facts: { server, ...best, info, ...(defaultUser === undefined ? {} : { defaultUser }) },
    stored: typeof stored === "string" ? Number(stored) : undefined,
  };
}

/** @param reply names and values in turn; undefined if the link's user may not ask */
function readUser(reply: unknown): ServerFacts["defaultUser"] {
  if (!Array.isArray(reply)) return undefined;
  const valueOf = (name: string): unknown => reply[reply.indexOf(name) + 1];
  const [commands, keys] = [valueOf("commands"), valueOf("keys")];
  return typeof commands === "string" && typeof keys === "string" ? { commands, keys } : undefined;
}
