// chaos: messages at a steady rate, whatever the cluster does with them.
// Guarantees: an open loop: a slow answer does not slow the next message down; waiting messages are bounded.
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageToPost, RecordingProducer } from "@petrel/shared/testing/peers/recording-producer";
import type { SeededRandom } from "@petrel/shared/testing/faults/seeded-random";

export interface OfferLoadOptions {
  readonly producer: RecordingProducer;
  readonly random: SeededRandom;
  readonly users: readonly string[];
  /** Users who are never connected: their messages fall back, or expire. */
  readonly awayUsers?: readonly string[];
  /** Some messages go to these instead of to a user. */
  readonly topics?: readonly string[];
  readonly messagesPerSecond: number;
  readonly durationMs: number;
  /** The share of messages with a notification for the fallback: 0 to 1. */
  readonly fallbackShare: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

const TICK_MS = 20;
/** No more messages are added while this many seconds' worth wait for answers. */
const MAX_WAITING_SECONDS = 10;
const AWAY_SHARE = 0.06;
const TOPIC_SHARE = 0.15;
const [SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS] = [1, 6];

/**
 * Resolves when the time is over; answers may still be outstanding then.
 * @returns how many messages were skipped because too many waited already
 */
export async function offerLoad(options: OfferLoadOptions): Promise<number> {
  const { producer, messagesPerSecond, durationMs, signal } = options;
  const startMs = performance.now();
  let offered = 0;
  let leftOut = 0;
  for (;;) {
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs >= durationMs || signal?.aborted === true) return leftOut;
    for (const due = (elapsedMs / 1_000) * messagesPerSecond; offered < due; offered++) {
      if (producer.waiting > MAX_WAITING_SECONDS * messagesPerSecond) {
        leftOut++;
        continue;
      }
      void producer.post(chooseMessage(options));
    }
    await sleep(TICK_MS);
  }
}

function chooseMessage(options: OfferLoadOptions): MessageToPost {
  const { random, users, awayUsers = [], topics = [], fallbackShare } = options;
  const data = { filler: "x".repeat(random.between(0, 200)) };
  const insists = random.chance(0.5);
  if (topics.length > 0 && random.chance(TOPIC_SHARE)) {
    return { user: `#${random.pick(topics)}`, data, insists };
  }
  if (awayUsers.length === 0 || !random.chance(AWAY_SHARE)) {
    const fallback = random.chance(fallbackShare) ? { fallback: "offline" as const } : {};
    return { user: random.pick(users), data, insists, ...fallback };
  }
  const user = random.pick(awayUsers);
  if (random.chance(0.5)) return { user, data, insists, fallback: "offline" };
  return { user, data, insists, ttlSeconds: random.between(SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS) };
}
