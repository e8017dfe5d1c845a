// shared/redis/accept-batch -> here: what a write must have reached before it counts as stored.
// Guarantees: the answer of the server that wrote is checked; where it cannot give the one asked for, the service is
// refused at its start, in one line.
import { describeError, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { isAtLeast, readServerVersion, type RunningVersion } from "../connection/check-server.js";
import { allMasters } from "../connection/cluster-nodes.js";
import type { Redis, SingleRedis } from "../connection/connect.js";

export type AcceptDurability =
  /** Redis has it in memory. */
  | { readonly kind: "memory" }
  /** It is in the append-only file, and the file on the disk. */
  | { readonly kind: "aof" }
  /** So many replicas have it in memory, too. */
  | { readonly kind: "replicas"; readonly count: number };

/**
 * Waits until all that this connection has written so far has reached what it must; the command leaves at once.
 * @throws PetrelError PETREL_UNAVAILABLE where it has not, in time; or what ioredis throws where the answer is missing
 */
export type ConfirmWrites = (server: SingleRedis) => Promise<void>;

/** https://redis.io/docs/latest/commands/waitaof/; Valkey has it since its first release. */
const WAITAOF_SINCE = [7, 2] as const;
/**
 * Under `everysec`, WAITAOF of Redis 7.4 and of every Valkey so far (9.1 was tried) answers before the sync: what was
 * written less than a second after the last one counts as synced. https://github.com/redis/redis/pull/12622 brought
 * it, https://github.com/redis/redis/pull/13793 mended Redis 8.0. `sync-counts.test.ts` counts.
 */
const WAITAOF_IN_HASTE = [7, 4] as const;
const WAITAOF_MENDED = [8, 0] as const;
const MAX_REPLICAS = 16;

/** @throws Error whose message completes "ACCEPT_DURABILITY must be …" */
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
 * @param timeoutMs how long a write may take to reach it
 * @returns undefined where the answer to a write says enough by itself
 * @throws PetrelError PETREL_UNAVAILABLE where a server cannot give what is asked for
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
          "redis: under ACCEPT_DURABILITY=aof every message waits for the next sync, a second or more; " +
            "appendfsync always is meant for this",
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
 * "answer": every answer waits for the disk, by `appendfsync always` · "wait": WAITAOF says so once more, at once ·
 * "wait-for-next-sync": WAITAOF answers when the file was synced, a second later or more
 */
export type AofWay = "answer" | "wait" | "wait-for-next-sync";

/** @throws PetrelError PETREL_UNAVAILABLE where nothing says when a write is on the disk */
export function chooseAofWay({ product, version }: RunningVersion, settings: AofSettings): AofWay {
  const { appendonly, appendfsync, noAppendfsyncOnRewrite } = settings;
  if (appendonly !== "yes") throw refused(`appendonly is ${appendonly}; set it to yes`);
  const hasWait = isAtLeast(version, WAITAOF_SINCE);
  if (appendfsync === "always") {
    if (hasWait) return "wait";
    // Then an answer during a rewrite comes before the sync, and nothing tells.
    if (noAppendfsyncOnRewrite !== "yes") return "answer";
    throw refused(`no-appendfsync-on-rewrite is ${noAppendfsyncOnRewrite}; set it to no`);
  }
  // Here nothing else syncs the file: WAITAOF would wait for as long as the system likes.
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

/** https://redis.io/docs/latest/commands/wait/: counts replicas that have all that this connection wrote before. */
async function confirmByReplicas(server: SingleRedis, count: number, timeoutMs: number): Promise<void> {
  const reached = await server.wait(count, timeoutMs);
  if (reached < count) throw unconfirmed(`${reached} of ${count} replicas`);
}

async function confirmByAof(server: SingleRedis, timeoutMs: number): Promise<void> {
  const [synced] = (await server.call("WAITAOF", 1, 0, timeoutMs)) as [number, number];
  if (synced < 1) throw unconfirmed("memory");
}

/** The message may be stored for good: its id decides, when it is sent again. */
function unconfirmed(reached: string): PetrelError {
  return new PetrelError(
    "PETREL_UNAVAILABLE",
    `The message has reached only ${reached} in time; send it again.`,
    {
      retryAfterSeconds: 1,
    },
  );
}
