// Bench, fan-out: what a round of a contender gave, and what all of them say together.
// Guarantees: the median round is shown whole, its parts add up; the spread is of all rounds.
import type { DeliveryVerdict } from "../subscribers/judge-deliveries.js";

export interface FanOutRound {
  /** Microseconds of CPU a delivery, by process. */
  readonly cpuUs: ReadonlyMap<string, number>;
  readonly totalUs: number;
  readonly seconds: number;
  readonly verdict: DeliveryVerdict;
}

export interface FanOutResult {
  readonly name: string;
  readonly setUp: string;
  /** CPU of all its processes with its subscribers and no messages. */
  readonly idleMsPerSecond: number;
  readonly rounds: readonly FanOutRound[];
}

export interface FanOutSummary {
  readonly name: string;
  readonly idleMsPerSecond: number;
  readonly median: FanOutRound;
  readonly leastUs: number;
  readonly mostUs: number;
  /** Of all rounds; empty where everything was right. */
  readonly faults: readonly string[];
}

export function summarise({ name, rounds, idleMsPerSecond }: FanOutResult): FanOutSummary {
  const sorted = rounds.toSorted((a, b) => a.totalUs - b.totalUs);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  const [least] = sorted;
  const most = sorted.at(-1);
  if (median === undefined || least === undefined || most === undefined)
    throw new Error(`${name}: no rounds`);
  return {
    name,
    idleMsPerSecond,
    median,
    leastUs: least.totalUs,
    mostUs: most.totalUs,
    faults: [...new Set(rounds.flatMap(({ verdict }) => faultsOf(verdict)))],
  };
}

export function faultsOf(verdict: DeliveryVerdict): string[] {
  const { deliveries, expected, subscribersWithout, topicsInTwoOrders, brokenOffsets, ended } = verdict;
  return [
    ...(deliveries === expected ? [] : [`${deliveries} of ${expected} deliveries`]),
    ...(subscribersWithout === 0 ? [] : [`${subscribersWithout} subscribers without exactly their messages`]),
    ...(topicsInTwoOrders === 0 ? [] : [`${topicsInTwoOrders} topics in more than one order`]),
    ...(brokenOffsets === 0 ? [] : [`${brokenOffsets} offsets that do not follow`]),
    ...(ended.length === 0 ? [] : [`${ended.length} connections ended (${ended[0]})`]),
  ];
}
