// redis/erase-user, erase-stray-owners -> here: all keys of one server with a matching name, step by step.
// Guarantees: finds every key that exists throughout at least once; leaves half of the server's time to others.
import { pause } from "../../kernel/pause.js";
import type { SingleRedis } from "./connect.js";

/** Keys per step: about a quarter of a millisecond of Redis's time. */
const KEYS_A_STEP = 1_000;

/**
 * https://redis.io/docs/latest/commands/scan/
 * @param pattern in glob style
 * @param visit gets the names found by one step, at least one
 */
export async function scanGently(
  server: SingleRedis,
  pattern: string,
  visit: (names: string[]) => Promise<void>,
): Promise<void> {
  let cursor = "0";
  do {
    const startedMs = performance.now();
    const [next, names] = await server.scan(cursor, "MATCH", pattern, "COUNT", KEYS_A_STEP);
    cursor = next;
    if (names.length > 0) await visit(names);
    if (cursor !== "0") await pause(performance.now() - startedMs);
  } while (cursor !== "0");
}
