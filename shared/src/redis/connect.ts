// Opens connections to Redis, set so that a fault is seen soon and answered, never waited for in silence.
// Guarantees: a command that cannot be sent fails at once; one without an answer fails after a deadline; the
// connection comes back by itself, with backoff.
import { Redis } from "ioredis";
import { backoffMs } from "../kernel/backoff.js";
import { describeError, PetrelError } from "../kernel/errors.js";
import type { Logger } from "../kernel/logging.js";

export type { Redis } from "ioredis";

export interface ConnectOptions {
  /** redis://… or rediss://… */
  readonly url: string;
  /** What this connection is for, such as "commands" or "subscriber": stands in logs and in CLIENT LIST. */
  readonly role: string;
  readonly logger: Logger;
  /** A command that Redis has not answered in this time fails; 0 for connections whose reads block. */
  readonly commandTimeoutMs?: number;
  /** A link on which nothing is heard for this long while an answer is due is closed and opened anew. */
  readonly silenceTimeoutMs?: number;
}

/** @throws PetrelError PETREL_UNAVAILABLE where the first connection fails */
export async function connectRedis(options: ConnectOptions): Promise<Redis> {
  const { url, role, logger, commandTimeoutMs = 5_000, silenceTimeoutMs = 10_000 } = options;
  const redis = new Redis(url, {
    lazyConnect: true,
    connectionName: `petrel-${role}`,
    protocol: 2,
    // What could not be sent now fails now: the caller knows whether to try again, and until when.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: true,
    ...(commandTimeoutMs > 0 ? { commandTimeout: commandTimeoutMs } : {}),
    socketTimeout: silenceTimeoutMs,
    connectTimeout: 5_000,
    retryStrategy: (attempt) => 50 + backoffMs(attempt, { baseMs: 100, capMs: 2_000 }),
  });
  let lost = false;
  redis.on("error", (error: unknown) => {
    if (!lost) logger.warn({ role, reason: describeError(error) }, "redis: connection failed");
    lost = true;
  });
  redis.on("ready", () => {
    if (lost) logger.info({ role }, "redis: connection is back");
    lost = false;
  });
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    throw new PetrelError("PETREL_UNAVAILABLE", `Redis does not answer at ${withoutCredentials(url)}`, {
      cause: error,
    });
  }
  return redis;
}

/** Whether an error means that the answer is missing, so that the call may have run or not. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error.name !== "ReplyError" ||
    /^(LOADING|MASTERDOWN|CLUSTERDOWN|READONLY|TRYAGAIN|OOM|MISCONF|UNBLOCKED|NOREPLICAS)/.test(error.message)
  );
}

function withoutCredentials(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
