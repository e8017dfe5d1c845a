// Tests only: a real Redis with its scripts loaded, and helpers to look inside.
// Guarantees: each caller has a server of its own, or one as new that nobody else has; `clear()` leaves no key of an earlier test; `close()` leaves nothing.
import { randomBytes } from "node:crypto";
import { connectRedis, type Redis } from "../../redis/connection/connect.js";
import {
  MessageAccepter,
  type AcceptOptions,
  type MessageToAccept,
} from "../../redis/accept/accept-batch.js";
import type { EventType } from "../../protocol/events/event-types.js";
import { allPartitionKeys, partitionKeys, type PartitionKeys } from "../../redis/keys.js";
import type { RouteLimits } from "../../redis/routes/connect-routes.js";
import { takePartition } from "../../redis/partitions/partition-lease.js";
import { EventWriting } from "../../redis/scripts/event-writing.js";
import { readScripts } from "../../redis/scripts/script-catalogue.js";
import { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { borrowRedis } from "./kept-redis.js";
import { startRedis, type StartRedisOptions, type TestRedis } from "./start-redis.js";

export interface OpenStore {
  readonly server: TestRedis;
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  /** Two partitions; `keys` are those of the first. */
  readonly partitions: readonly PartitionKeys[];
  readonly keys: PartitionKeys;
  /** An accepter with room for everything, unless the options say otherwise. */
  accepter(options?: Partial<AcceptOptions>): MessageAccepter;
  /** Every key with its value, and whether it expires: for "nothing has changed". */
  snapshot(): Promise<Record<string, { readonly value: unknown; readonly endsAtMs: number }>>;
  /** What is published on these channels from now on, in order. */
  listen(...channels: string[]): Promise<string[]>;
  /** Ends the leases of all the user's current connections. */
  endLeases(userId: string): Promise<void>;
  /** Takes the first partition, as the owner "a". @returns its fencing token */
  own(): Promise<string>;
  /** Redis' own clock, ms. */
  nowMs(): Promise<number>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

const logger = createLogger({ service: "test", level: "silent" });

export interface OpenStoreOptions extends StartRedisOptions {
  /** Those that scripts write; none by default. */
  readonly events?: readonly EventType[];
  /** How many a partition keeps. */
  readonly eventsCap?: number;
}

export async function openStore({
  events = [],
  eventsCap = 100_000,
  ...options
}: OpenStoreOptions = {}): Promise<OpenStore> {
  const server = await (Object.keys(options).length === 0 ? borrowRedis() : startRedis(options));
  const redis = await connectRedis({ url: server.url, role: "commands", logger });
  const listeners: Redis[] = [];
  const scripts = new ScriptRunner(redis, readScripts(), new EventWriting(events, eventsCap));
  const partitions = allPartitionKeys(2);
  const keys = partitionKeys(0);

  async function listen(...channels: string[]): Promise<string[]> {
    const subscriber = await connectRedis({
      url: server.url,
      role: "subscriber",
      logger,
      commandTimeoutMs: 0,
      silenceTimeoutMs: 60_000,
    });
    listeners.push(subscriber);
    const heard: string[] = [];
    subscriber.on("smessage", (_channel: string, message: string) => void heard.push(message));
    await subscriber.ssubscribe(...channels);
    return heard;
  }

  async function nowMs(): Promise<number> {
    const [seconds, micros] = await redis.time();
    return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  }

  async function endLeases(userId: string): Promise<void> {
    const members = await redis.zrange(keys.routes(userId), "0", "-1");
    if (members.length === 0) throw new Error(`${userId} has no connections`);
    const past = (await nowMs()) - 1;
    await redis.zadd(keys.routes(userId), "XX", ...members.flatMap((member) => [past, member]));
  }

  async function own(): Promise<string> {
    const lease = await takePartition(scripts, keys, "a", 60_000);
    if (lease.outcome !== "held") throw new Error("not taken");
    return lease.token;
  }

  async function clear(): Promise<void> {
    for (const listener of listeners.splice(0)) listener.disconnect();
    await redis.flushall();
  }

  return {
    server,
    redis,
    scripts,
    partitions,
    keys,
    accepter: (more) =>
      new MessageAccepter({
        scripts,
        partitions,
        ackTimeoutMs: 10_000,
        inboxCap: 10_000,
        readyCap: 100_000,
        handOver: "accept",
        maxInFlight: 2,
        ...more,
      }),
    snapshot: () => readEverything(redis),
    listen,
    endLeases,
    own,
    nowMs,
    clear,
    close: async () => {
      for (const listener of listeners.splice(0)) listener.disconnect();
      redis.disconnect();
      await server.stop();
    },
  };
}

/** For connections of a test that is not about limits. */
export const routeLimits: RouteLimits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 5,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
};

/** A message for user "u1" of the first partition, with a fresh id; `parts` override. */
export function message(parts: Partial<MessageToAccept> = {}): MessageToAccept {
  return {
    userId: "u1",
    partition: 0,
    id: `m_${randomBytes(9).toString("base64url")}`,
    ttlMs: 3_600_000,
    fingerprint: "-",
    attempt: "-",
    data: `{"n":1}`,
    fallback: "offline",
    priority: "normal",
    notification: "",
    ...parts,
  };
}

async function readEverything(
  redis: Redis,
): Promise<Record<string, { readonly value: unknown; readonly endsAtMs: number }>> {
  const keys = (await redis.keys("*")).sort();
  const types = redis.pipeline();
  for (const key of keys) types.type(key).pexpiretime(key);
  const about = await answersOf(types);
  const values = redis.pipeline();
  for (const [i, key] of keys.entries()) readValue(values, key, about[2 * i]);
  const found = await answersOf(values);
  return Object.fromEntries(
    keys.map((key, i) => {
      const value = about[2 * i] === "set" ? (found[i] as string[]).sort() : found[i];
      return [key, { value, endsAtMs: about[2 * i + 1] as number }];
    }),
  );
}

type Pipeline = ReturnType<Redis["pipeline"]>;

/** One write for all: a look at everything follows many a request. */
async function answersOf(pipeline: Pipeline): Promise<unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, answer]) => {
    if (error) throw error;
    return answer;
  });
}

function readValue(pipeline: Pipeline, key: string, type: unknown): void {
  switch (type) {
    case "string":
      pipeline.get(key);
      return;
    case "hash":
      pipeline.hgetall(key);
      return;
    case "zset":
      pipeline.zrange(key, "0", "-1", "WITHSCORES");
      return;
    case "set":
      pipeline.smembers(key);
      return;
    case "list":
      pipeline.lrange(key, 0, -1);
      return;
    case "stream":
      pipeline.xrange(key, "-", "+");
      return;
    default:
      throw new Error(`a ${String(type)} at ${key}`);
  }
}
