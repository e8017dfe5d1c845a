// shared/redis/accept-batch -> here: how far a write must have got before it counts as stored.
// Guarantees: the server that wrote must confirm. If it cannot confirm what is configured, the service refuses to
// start, in one line.
import { describeError, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { isAtLeast, readServerVersion, type RunningVersion } from "../connection/check-server.js";
import { allMasters } from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";

export type AcceptDurability =
  /** Redis has it in memory. */
  | { readonly kind: "memory" }
  /** The append-only file has it, and the file is synced to disk. */
  | { readonly kind: "aof" }
  /** This many replicas have it in memory, too. */
  | { readonly kind: "replicas"; readonly count: number };

/**
 * Waits until everything that this connection has written so far is as durable as required. Sends its command at once.
 * @throws PetrelError PETREL_UNAVAILABLE if it is not, in time; or what ioredis throws if the answer is missing
 */
export type ConfirmWrites = (server: SingleRedis) => Promise<void>;

/** https://redis.io/docs/latest/commands/waitaof/; every Valkey release has it. */
const WAITAOF_SINCE = [7, 2] as const;
/**
 * Under `everysec`, WAITAOF of Redis 7.4 and of every Valkey so far (up to 9.1) answers before the sync: a write less
 * than a second after the last sync counts as synced. https://github.com/redis/redis/pull/12622 introduced this, and
 * https://github.com/redis/redis/pull/13793 fixed it in Redis 8.0. `sync-counts.test.ts` counts the syncs.
 */
const WAITAOF_IN_HASTE = [7, 4] as const;
const WAITAOF_MENDED = [8, 0] as const;
const MAX_REPLICAS = 16;

/** @throws Error with a message that completes "ACCEPT_DURABILITY must be …" */
export function parseAcceptDurability(text: string): AcceptDurability {
  if (text === "memory" || text === "aof") return { kind: text };
  const count = Number(/^replicas:(\d+)$/.exec(text)?.[1] ?? 0);
  if (count < 1 || count > MAX_REPLICAS) {
    throw new Error(
      `memory, aof or replicas:N with N from 1 to ${MAX_REPLICAS}, not ${JSON.stringify(text)}`,
    );
  }
  return { kind: "replicas", count };
}

/**
 * @param timeoutMs how long a write may take to become that durable
 * @returns undefined if the answer to a write is confirmation enough
 * @throws PetrelError PETREL_UNAVAILABLE if a server cannot confirm what is configured
 */
export async function chooseConfirmation(
  redis: Redis,
  durability: AcceptDurability,
  timeoutMs: number,
  logger: Pick<Logger, "warn">,
): Promise<ConfirmWrites | undefined> {
  switch (durability.kind) {
    case "memory":
      return undefined;
    case "replicas":
      return (server) => confirmByReplicas(server, durability.count, timeoutMs);
    case "aof": {
      const ways = await Promise.all(
        allMasters(redis).map(async (server) =>
          chooseAofWay(await readServerVersion(server), await readAofSettings(server)),
        ),
      );
      if (ways.includes("wait-for-next-sync")) {
        logger.warn(
          { appendfsync: "everysec" },
          "redis: with ACCEPT_DURABILITY=aof every message waits for the next sync, a second or more; " +
            "use appendfsync always",
        );
      }
      return ways.every((way) => way === "answer") ? undefined : (server) => confirmByAof(server, timeoutMs);
    }
  }
}

export interface AofSettings {
  readonly appendonly: string;
  readonly appendfsync: string;
  readonly noAppendfsyncOnRewrite: string;
}

/**
 * "answer": `appendfsync always` makes every answer wait for the disk · "wait": WAITAOF confirms once more, at once ·
 * "wait-for-next-sync": WAITAOF answers after the next sync of the file, a second later or more
 */
export type AofWay = "answer" | "wait" | "wait-for-next-sync";

/** @throws PetrelError PETREL_UNAVAILABLE if nothing tells when a write is on disk */
export function chooseAofWay({ product, version }: RunningVersion, settings: AofSettings): AofWay {
  const { appendonly, appendfsync, noAppendfsyncOnRewrite } = settings;
  if (appendonly !== "yes") throw refused(`appendonly is ${appendonly}; set it to yes`);
  const hasWait = isAtLeast(version, WAITAOF_SINCE);
  if (appendfsync === "always") {
    if (hasWait) return "wait";
    // With "yes", an answer during a rewrite comes before the sync, and nothing tells the two apart.
    if (noAppendfsyncOnRewrite !== "yes") return "answer";
    throw refused(`no-appendfsync-on-rewrite is ${noAppendfsyncOnRewrite}; set it to no`);
  }
  // Nothing else syncs the file then: WAITAOF would wait until the operating system decides to.
  if (appendfsync === "no") throw refused("appendfsync is no; set it to always");
  if (!hasWait) {
    throw refused(
      `${product} ${version} has no WAITAOF (7.2 has) and appendfsync is ${appendfsync}; set it to always`,
    );
  }
  const isHasty =
    product === "Valkey" || (isAtLeast(version, WAITAOF_IN_HASTE) && !isAtLeast(version, WAITAOF_MENDED));
  if (!isHasty) return "wait-for-next-sync";
  throw refused(
    `appendfsync is ${appendfsync}, under which WAITAOF of ${product} ${version} answers before the sync; ` +
      "set it to always",
  );
}

async function readAofSettings(server: SingleRedis): Promise<AofSettings> {
  try {
    const flat = (await server.config("GET", "*append*")) as readonly string[];
    const valueOf = (name: string): string => {
      const at = flat.indexOf(name);
      return (at === -1 ? undefined : flat[at + 1]) ?? "unknown";
    };
    return {
      appendonly: valueOf("appendonly"),
      appendfsync: valueOf("appendfsync"),
      noAppendfsyncOnRewrite: valueOf("no-appendfsync-on-rewrite"),
    };
  } catch (error) {
    throw refused(`its settings cannot be read (CONFIG GET: ${describeError(error)})`);
  }
}

function refused(why: string): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", `Redis cannot give ACCEPT_DURABILITY=aof: ${why}.`);
}

/**
 * https://redis.io/docs/latest/commands/wait/: counts the replicas that have all previous writes of this connection.
 */
async function confirmByReplicas(server: SingleRedis, count: number, timeoutMs: number): Promise<void> {
  const reached = await server.wait(count, timeoutMs);
  if (reached < count) throw unconfirmed(`${reached} of ${count} replicas`);
}

async function confirmByAof(server: SingleRedis, timeoutMs: number): Promise<void> {
  const [synced] = (await server.call("WAITAOF", 1, 0, timeoutMs)) as [number, number];
  if (synced < 1) throw unconfirmed("memory");
}

/** The message may be stored for good. If it is sent again, its id decides. */
function unconfirmed(reached: string): PetrelError {
  return new PetrelError(
    "PETREL_UNAVAILABLE",
    `The message has reached only ${reached} in time; send it again.`,
    {
      retryAfterSeconds: 1,
    },
  );
}
