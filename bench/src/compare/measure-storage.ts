// Bench: what a delivered message takes in Redis once users' histories are at their length.
// Guarantees: `used_memory` of the server itself, without its clients' buffers; each round adds to the one before.
import { Redis } from "ioredis";
import { inClosedLoop } from "../rounds/publish-plans.js";
import type { WorkloadFigures } from "./figures.js";
import { inRounds } from "./in-rounds.js";
import { connectUsers, type CompareContext, type ConnectedUsers } from "./measure-messages.js";

/** At most: so few that the first round fills their histories. */
const USERS = 20;
const PUBLISHERS = 64;
/** Histories are trimmed in steps. */
const STEP = 64;
const MESSAGES_EACH = 6 * STEP;

export async function measureStorage(context: CompareContext): Promise<WorkloadFigures> {
  const { contenders, options, say, takeNumbers } = context;
  const userCount = Math.min(USERS, options.users);
  const messages = userCount * MESSAGES_EACH;
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const competitors = [];
    for (const contender of contenders) {
      const { redisUrl, users } = contender;
      if (redisUrl === undefined || users === undefined) continue;
      const connected: ConnectedUsers = await connectUsers(contender, userCount, options.ackDelayMs);
      const redis = new Redis(redisUrl);
      closing.push(
        () => connected.close(),
        () => redis.quit(),
      );
      competitors.push({
        name: contender.name,
        measure: async () => {
          const before = await usedMemory(redis);
          const first = takeNumbers(messages);
          const topics = Array.from({ length: messages }, (_, i) => connected.names[i % userCount] ?? "");
          const { faults = [] } = await connected.measure({
            first,
            topics,
            run: (publish) => inClosedLoop(publish, first, messages, { publishers: PUBLISHERS }),
          });
          return { value: ((await usedMemory(redis)) - before) / messages, faults };
        },
      });
    }
    return {
      workload: "storage",
      title: `${messages} more messages, delivered, to ${userCount} users whose histories are full`,
      unit: "bytes of Redis a message",
      contenders: await inRounds(competitors, { rounds: 1, say }),
    };
  } finally {
    await Promise.all(closing.map((close) => close()));
  }
}

interface AnswersInfo {
  readonly info: (section: string) => Promise<string>;
}

/** Bytes, without those of its clients. */
export async function usedMemory(redis: AnswersInfo): Promise<number> {
  const info = await redis.info("memory");
  const value = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  return value("used_memory") - value("mem_clients_normal");
}
