// Redis's own clock, which decides leases, `due` and expiries.
// Guarantees: never this machine's clock, which may differ from other machines'.
import { masterOf } from "./cluster-nodes.js";
import type { Redis } from "./connect.js";

/**
 * @param key on a cluster, where masters' clocks may differ: a key whose master to ask; without one, any master is
 * asked
 * @returns milliseconds since 1970 UTC
 */
export async function readServerTimeMs(redis: Redis, key?: string): Promise<number> {
  const server = key === undefined ? redis : masterOf(redis, key);
  const [seconds, microseconds] = await server.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
