// Bench, fan-out: what a round of a contender gave, and what all of them say together.
// Guarantees: the median round is shown whole, its parts add up; the spread is of all rounds.
import { faultsOf, type MeasuredRound } from "../rounds/measured-round.js";

export interface FanOutResult {
  readonly name: string;
  readonly setUp: string;
  /** CPU of all its processes with its subscribers and no messages. */
  readonly idleMsPerSecond: number;
  readonly rounds: readonly MeasuredRound[];
}

export interface FanOutSummary {
  readonly name: string;
  readonly idleMsPerSecond: number;
  readonly median: MeasuredRound;
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
