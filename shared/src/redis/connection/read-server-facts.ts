// dispatch/diagnose -> here: what each Redis master says of itself, for people who look for what is wrong.
// Guarantees: reads only, a few short answers a master; a master that does not answer is told as that.
import { describeError } from "../../kernel/errors.js";
import { allMasters } from "./cluster-nodes.js";
import type { Redis, SingleRedis } from "./connect.js";

export interface ServerFacts {
  /** `host:port` as this process has it. */
  readonly server: string;
  /** Why nothing else is known. */
  readonly problem?: string;
  /** The shortest of some round trips, ms. */
  readonly roundTripMs?: number;
  /** Its clock is so far ahead of this process'; negative: behind. Exact to half a round trip. */
  readonly clockAheadMs?: number;
  /** Lines of INFO, by name; see `infoNames`. */
  readonly info?: Readonly<Record<string, string>>;
}

/** What is told of INFO. Nothing that names files or commands. */
export const infoNames: readonly string[] = [
  "redis_version",
  "valkey_version",
  "role",
  "uptime_in_seconds",
  "used_memory",
  "maxmemory",
  "maxmemory_policy",
  "evicted_keys",
  "aof_enabled",
  "aof_last_write_status",
  "aof_last_bgrewrite_status",
  "rdb_last_bgsave_status",
  "loading",
  "connected_slaves",
  "master_link_status",
  "rejected_connections",
];

const ROUND_TRIPS = 5;

/** @param wallMs this process' own clock */
export async function readServerFacts(redis: Redis, wallMs: () => number): Promise<ServerFacts[]> {
  let masters: readonly SingleRedis[];
  try {
    masters = allMasters(redis);
  } catch (error) {
    return [{ server: "redis", problem: describeError(error) }];
  }
  return Promise.all(
    masters.map(async (master) => {
      const { host = "redis", port = 0 } = master.options;
      const server = `${host}:${port}`;
      try {
        return { server, ...(await readOne(master, wallMs)) };
      } catch (error) {
        return { server, problem: describeError(error) };
      }
    }),
  );
}

async function readOne(server: SingleRedis, wallMs: () => number): Promise<Omit<ServerFacts, "server">> {
  let best = { roundTripMs: Infinity, clockAheadMs: 0 };
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const startMs = performance.now();
    const beforeMs = wallMs();
    const [seconds, microseconds] = await server.time();
    const roundTripMs = performance.now() - startMs;
    const thenMs = Number(seconds) * 1_000 + Number(microseconds) / 1_000;
    if (roundTripMs < best.roundTripMs) {
      best = { roundTripMs, clockAheadMs: Math.round(thenMs - beforeMs - roundTripMs / 2) };
    }
  }
  const lines = (await server.info()).split("\r\n");
  const info = Object.fromEntries(
    lines.flatMap((line): [string, string][] => {
      const [name = "", value = ""] = line.split(/:(.*)/s);
      return infoNames.includes(name) ? [[name, value]] : [];
    }),
  );
  return { ...best, roundTripMs: Math.round(best.roundTripMs * 100) / 100, info };
}
