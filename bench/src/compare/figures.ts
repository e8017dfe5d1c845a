// Bench: what a workload gave, whoever took part.
// Guarantees: the median is of a round that was measured, its parts add up to it; the spread is of all rounds.

export interface RoundFigures {
  /** What counts, in the workload's unit. */
  readonly value: number;
  /** The value's parts, by process. */
  readonly parts?: Readonly<Record<string, number>>;
  /** What else was seen, by a name with its unit: "p99 ms". */
  readonly more?: Readonly<Record<string, number>>;
  /** What was not as promised. */
  readonly faults?: readonly string[];
}

export interface ContenderFigures {
  readonly name: string;
  /** Empty where it failed. */
  readonly rounds: readonly RoundFigures[];
  /** Why it failed. */
  readonly failed?: string;
}

export interface WorkloadFigures {
  readonly workload: string;
  readonly title: string;
  /** Of the value; less is better. */
  readonly unit: string;
  readonly contenders: readonly ContenderFigures[];
}

export interface Summary {
  readonly name: string;
  readonly median: RoundFigures;
  readonly least: number;
  readonly most: number;
  /** Of all rounds. */
  readonly faults: readonly string[];
}

/** @returns undefined where no round was measured */
export function summarise({ name, rounds }: ContenderFigures): Summary | undefined {
  const sorted = rounds.toSorted((a, b) => a.value - b.value);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  const [least] = sorted;
  const most = sorted.at(-1);
  if (median === undefined || least === undefined || most === undefined) return undefined;
  const faults = [...new Set(rounds.flatMap((round) => round.faults ?? []))];
  return { name, median, least: least.value, most: most.value, faults };
}
