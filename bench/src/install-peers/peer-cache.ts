// Bench: where fetched servers lie.
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../.cache/bench/", import.meta.url));

/** Its directory under `.cache/bench`, which the next run finds again. */
export function peerDirectory(name: string): string {
  return `${root}${name}`;
}
