// Tests only -> start-auth: one process of auth, on a test's Redis.
// Guarantees: the production wiring; two with the same encryption key act as two processes of one cluster.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { openTestService } from "@petrel/shared/testing/open-test-service";
import { readAuthSettings } from "../config.js";
import { startAuth, type StartedAuth } from "../start-auth.js";

export interface OpenAuthOptions {
  /** Redis's URL. */
  readonly url: string;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** 32 bytes; random by default. */
  readonly encryptionKey?: Buffer;
  /** As the process would read it: `REFRESH_LEEWAY_SECONDS` and so on. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface OpenAuth extends StartedAuth {
  readonly close: () => Promise<void>;
}

export async function openAuth({
  url,
  clock,
  logger,
  encryptionKey = randomBytes(32),
  environment,
}: OpenAuthOptions): Promise<OpenAuth> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-auth-"));
  const keyFile = join(directory, "encryption-key");
  await writeFile(keyFile, encryptionKey.toString("base64"), { mode: 0o600 });
  const settings = readAuthSettings({
    HOST: "127.0.0.1",
    PORT: "0",
    REDIS_URL: url,
    PARTITIONS: "2",
    READY_WITHOUT_REDIS_MS: "0",
    KEY_ENCRYPTION_FILE: keyFile,
    ...environment,
  });
  const service = await openTestService("auth", settings.config, {
    ...(clock === undefined ? {} : { clock }),
    ...(logger === undefined ? {} : { logger }),
  });
  service.lifecycle.onStop("key file", () => rm(directory, { recursive: true }));
  const started = await startAuth(settings, service);
  return { ...started, close: () => service.lifecycle.stop("the test is over") };
}
