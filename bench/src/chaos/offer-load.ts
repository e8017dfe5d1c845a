// chaos: messages at a steady rate, whatever the cluster does with them.
// Guarantees: an open loop: a slow answer does not slow the next message down; what waits is bounded.
import { setTimeout as sleep } from "node:timers/promises";
import type { RecordingProducer } from "@petrel/shared/testing/recording-producer";
import type { SeededRandom } from "@petrel/shared/testing/seeded-random";

export interface OfferLoadOptions {
  readonly producer: RecordingProducer;
  readonly random: SeededRandom;
  readonly users: readonly string[];
  readonly messagesPerSecond: number;
  readonly durationMs: number;
  /** Of all messages, how many carry a notification for the fallback: 0 to 1. */
  readonly fallbackShare: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

const TICK_MS = 20;
/** Beyond so many seconds' worth of messages that wait for answers, no more are added. */
const MAX_WAITING_SECONDS = 10;

/**
 * Resolves when the time is over; answers may still be awaited then.
 * @returns how many messages were left out, because too many waited already
 */
export async function offerLoad(options: OfferLoadOptions): Promise<number> {
  const { producer, random, users, messagesPerSecond, durationMs, fallbackShare, signal } = options;
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
      void producer.post({
        user: random.pick(users),
        data: { filler: "x".repeat(random.between(0, 200)) },
        insists: random.chance(0.5),
        ...(random.chance(fallbackShare) ? { fallback: "offline" as const } : {}),
      });
    }
    await sleep(TICK_MS);
  }
}
