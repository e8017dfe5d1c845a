// push-node/open-handshakes -> here: names that nobody can guess, many at a time.
// Guarantees: each from bytes of its own of the system's generator, which is asked once for many.
import { randomFillSync } from "node:crypto";

const IDS_PER_FILL = 128;

/** @returns makes a name of so many random bytes, in base64url */
export function createRandomIds(bytes: number): () => string {
  const pool = Buffer.alloc(bytes * IDS_PER_FILL);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const id = pool.toString("base64url", used, used + bytes);
    // What was given out must not be found here again.
    pool.fill(0, used, used + bytes);
    used += bytes;
    return id;
  };
}
