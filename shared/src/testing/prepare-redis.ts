// Tests only: vitest's global setup.
// Guarantees: where Redis must be fetched first, that happens once, before any test's clock runs.
import { findRedisServer } from "../embedded-redis/find-redis-server.js";

export async function setup(): Promise<void> {
  const { product, version, path } = await findRedisServer({
    environment: process.env,
    onProgress: (line) => process.stdout.write(`${line}\n`),
  });
  process.stdout.write(`tests run on ${product} ${version} (${path})\n`);
}
