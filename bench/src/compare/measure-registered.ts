// Bench: the same messages to the same users where few others are registered, and where many are.
// Guarantees: two whole clusters side by side; a registered user has a history, a record and nothing open.
import { randomBytes } from "node:crypto";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { MessageAccepter } from "@petrel/shared/redis/accept/accept-batch";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openPetrel, type PetrelContender } from "../contenders/open-petrel.js";
import type { WorkloadFigures } from "./figures.js";
import { inRounds } from "./in-rounds.js";
import { usedMemory } from "./measure-storage.js";
import {
  connectUsers,
  manyRounds,
  singlePlan,
  type CompareContext,
  type ConnectedUsers,
} from "./measure-messages.js";

const FEW = 1_000;
const PARTITIONS = 4;
const AT_A_TIME = 200;
const HISTORY = 100;

export async function measureRegistered(context: CompareContext): Promise<WorkloadFigures> {
  const { options, say } = context;
  const stops: (() => Promise<void>)[] = [];
  try {
    const competitors = [];
    for (const registered of [FEW, options.registered]) {
      const name = `Petrel, ${registered.toLocaleString("en")} users`;
      const petrel = await openPetrel({ name, environment: { PARTITIONS: String(PARTITIONS) } });
      stops.push(petrel.stop);
      const startMs = performance.now();
      const bytes = await registerUsers(petrel, registered);
      say(`  ${registered} users registered in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
      const users: ConnectedUsers = await connectUsers(petrel, options.users, options.ackDelayMs);
      stops.push(users.close);
      competitors.push({
        name,
        measure: async () => {
          const { more, ...figures } = await users.measure(singlePlan(context, users.names));
          return { ...figures, more: { ...more, "bytes of Redis a user": bytes } };
        },
      });
    }
    return {
      workload: "registered",
      title: `One message per POST, with ${FEW} and with ${options.registered} registered users`,
      unit: "µs CPU a message",
      contenders: await inRounds(competitors, { rounds: manyRounds(options), say }),
    };
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

/** Each is sent one message, which is acknowledged. @returns the bytes of Redis that one takes */
async function registerUsers({ cluster }: PetrelContender, count: number): Promise<number> {
  const logger = createLogger({ service: "bench", level: "silent" });
  const redis = await connectRedis({ url: cluster.redis.url, role: "commands", logger });
  const scripts = new ScriptRunner(redis);
  const partitions = allPartitionKeys(PARTITIONS);
  const accepter = new MessageAccepter({
    scripts,
    partitions,
    ackTimeoutMs: 10_000,
    inboxCap: 10_000,
    readyCap: 100_000,
    handOver: "accept",
    maxInFlight: 2,
  });
  const before = await usedMemory(redis);
  for (let from = 0; from < count; from += AT_A_TIME) {
    const some = Array.from(
      { length: Math.min(AT_A_TIME, count - from) },
      (_, i) => `registered-${from + i}`,
    );
    const stored = await Promise.all(
      some.map(async (userId) => {
        const partition = partitionOfUser(userId, PARTITIONS);
        const result = await accepter.accept({
          userId,
          partition,
          id: `m_${randomBytes(9).toString("base64url")}`,
          ttlMs: 3_600_000,
          fingerprint: "-",
          attempt: "first",
          // As long as those that docs/operate/sizing.md counts.
          data: JSON.stringify("x".repeat(98)),
          fallback: "never",
          priority: "normal",
          notification: "",
        });
        if (result.outcome !== "stored") throw new Error(`not stored: ${result.outcome}`);
        return { userId, partition, epoch: result.epoch, seq: result.seq };
      }),
    );
    await Promise.all(
      partitions.map(async (keys, partition) => {
        const acks = stored.filter((one) => one.partition === partition);
        if (acks.length > 0) await ackUsers(scripts, keys, acks, HISTORY);
      }),
    );
  }
  const bytes = (await usedMemory(redis)) - before;
  redis.disconnect();
  return bytes / count;
}
