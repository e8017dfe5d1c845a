// Redis' own clock, by which leases, `due` and expiries are decided.
// Guarantees: never this machine's clock, which may differ from the others'.
import { masterOf } from "./cluster-nodes.js";
import type { Redis } from "./connect.js";

/**
 * @param key on a cluster, whose masters' clocks may differ: a key that the time is about, for its master's clock;
 * without one, any master's
 * @returns milliseconds since 1970 UTC
 */
export async function readServerTimeMs(redis: Redis, key?: string): Promise<number> {
  const server = key === undefined ? redis : masterOf(redis, key);
  const [seconds, microseconds] = await server.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
