// Redis' own clock, by which leases, `due` and expiries are decided.
// Guarantees: never this machine's clock, which may differ from the others'.
import type { Redis } from "./connect.js";

/** @returns milliseconds since 1970 UTC */
export async function readServerTimeMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
