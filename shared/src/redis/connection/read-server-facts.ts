// dispatch/diagnose -> here: what each Redis master reports about itself, for troubleshooting.
// Guarantees: reads only, a few short answers per master. A master that does not answer is reported as such.
import { describeError } from "../../kernel/errors.js";
import { allMasters } from "./cluster-nodes.js";
import type { Redis, SingleRedis } from "./connect.js";

export interface ServerFacts {
  /** `host:port` as this process knows it. */
  readonly server: string;
  /** Why the other facts are missing. */
  readonly problem?: string;
  /** The shortest of a few round trips, ms. */
  readonly roundTripMs?: number;
  /** How far its clock is ahead of this process's; negative: behind. Exact to half a round trip. */
  readonly clockAheadMs?: number;
  /** Lines of INFO, by name; see `infoNames`. */
  readonly info?: Readonly<Record<string, string>>;
}

/** The reported lines of INFO. None names files or commands. */
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

/** @param wallMs this process's own clock */
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
