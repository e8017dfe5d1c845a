// Bench: whether a round's deliveries are what was published, from the ledgers of all load processes.
// Guarantees: a missing, repeated or foreign message, a second order and a skipped position each show in the verdict.
import { sumOf, type LedgerReport, type SeenAlike } from "./delivery-ledger.js";
import { LatencyHistogram } from "./latency-histogram.js";

export interface DeliveryVerdict {
  readonly deliveries: number;
  readonly expected: number;
  /** Subscribers that did not get exactly the messages of their topic. */
  readonly subscribersWithout: number;
  /** Topics of which two subscribers saw different orders. */
  readonly topicsInTwoOrders: number;
  readonly brokenOffsets: number;
  readonly ended: readonly string[];
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** @param published the numbers of each topic's messages */
export function judgeDeliveries(
  reports: readonly LedgerReport[],
  published: ReadonlyMap<string, readonly number[]>,
): DeliveryVerdict {
  const byTopic = new Map<string, SeenAlike[]>();
  for (const one of reports.flatMap(({ seen }) => seen))
    byTopic.set(one.topic, [...(byTopic.get(one.topic) ?? []), one]);
  let expected = 0;
  let subscribersWithout = 0;
  let topicsInTwoOrders = 0;
  for (const [topic, groups] of byTopic) {
    const numbers = published.get(topic) ?? [];
    const sum = sumOf(numbers);
    for (const { received, sum: got, subscribers } of groups) {
      expected += numbers.length * subscribers;
      if (received !== numbers.length || got !== sum) subscribersWithout += subscribers;
    }
    const whole = groups.filter(({ received, sum: got }) => received === numbers.length && got === sum);
    if (new Set(whole.map(({ order }) => order)).size > 1) topicsInTwoOrders++;
  }
  const latencies = LatencyHistogram.of(reports.map(({ latencies }) => latencies));
  return {
    deliveries: total(reports, ({ deliveries }) => deliveries),
    expected,
    subscribersWithout,
    topicsInTwoOrders,
    brokenOffsets: total(reports, ({ brokenOffsets }) => brokenOffsets),
    ended: reports.flatMap(({ ended }) => ended),
    p50Ms: latencies.percentileMs(0.5),
    p99Ms: latencies.percentileMs(0.99),
    p999Ms: latencies.percentileMs(0.999),
  };
}

function total<T>(all: readonly T[], figure: (one: T) => number): number {
  return all.reduce((sum, one) => sum + figure(one), 0);
}
