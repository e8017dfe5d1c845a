// Tests only: vitest's global setup, once for each server that tests run on.
// Guarantees: if Redis must be fetched, that happens once, before any test's clock runs.
import type { TestProject } from "vitest/node";
import { findTestServer } from "./find-test-server.js";

export async function setup({ config }: TestProject): Promise<void> {
  const { product, version, path } = await findTestServer(
    { ...process.env, ...config.env },
    (line) => void process.stdout.write(`${line}\n`),
  );
  process.stdout.write(`tests run on ${product} ${version} (${path})\n`);
}
