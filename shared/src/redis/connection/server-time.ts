// Redis' own clock, which decides leases, `due` and expiries.
// Guarantees: never this machine's clock, which may differ from the others'.
import { masterOf } from "./cluster-nodes.js";
import type { Redis } from "./connect.js";

/**
 * @param key on a cluster, where the masters' clocks may differ: a key that the time is for, to ask its master; without
 * one, any master is asked
 * @returns milliseconds since 1970 UTC
 */
export async function readServerTimeMs(redis: Redis, key?: string): Promise<number> {
  const server = key === undefined ? redis : masterOf(redis, key);
  const [seconds, microseconds] = await server.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
