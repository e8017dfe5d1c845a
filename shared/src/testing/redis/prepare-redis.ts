// Tests only: vitest's global setup, once for each server that tests run on.
// Guarantees: if Redis must be fetched, that happens once, before any test's clock runs; the files of the servers that
// workers keep go with the run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { findTestServer } from "./find-test-server.js";
import { KEPT_DIRECTORY } from "./kept-redis.js";

export async function setup({ config }: TestProject): Promise<(() => Promise<void>) | undefined> {
  const { product, version, path } = await findTestServer(
    { ...process.env, ...config.env },
    (line) => void process.stdout.write(`${line}\n`),
  );
  process.stdout.write(`tests run on ${product} ${version} (${path})\n`);
  // Each project asks.
  if (process.env[KEPT_DIRECTORY] !== undefined) return undefined;
  const directory = await mkdtemp(join(tmpdir(), "petrel-kept-redis-"));
  process.env[KEPT_DIRECTORY] = directory;
  return () => rm(directory, { recursive: true, force: true });
}
