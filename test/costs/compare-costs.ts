// Tests only: figures that were measured beside those that are committed.
// Guarantees: a figure that has grown by more than a tenth is named, and so is one that is new; a smaller one is no
// failure, but is told.

/** Step -> figure -> how much of it. */
export type Costs = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface CostChanges {
  /** A line for each figure that has grown by more than a tenth. */
  readonly grown: readonly string[];
  /** A line for each that could be committed smaller. */
  readonly shrunk: readonly string[];
}

const TOLERANCE = 0.1;

export function compareCosts(committed: Costs, measured: Costs): CostChanges {
  const grown: string[] = [];
  const shrunk: string[] = [];
  for (const [step, figures] of Object.entries(measured)) {
    const before = committed[step] ?? {};
    for (const name of new Set([...Object.keys(before), ...Object.keys(figures)])) {
      const [was, is] = [before[name] ?? 0, figures[name] ?? 0];
      if (is > was * (1 + TOLERANCE)) grown.push(`${step}, ${name}: ${was} -> ${is}`);
      else if (is < was * (1 - TOLERANCE)) shrunk.push(`${step}, ${name}: ${was} -> ${is}`);
    }
  }
  return { grown, shrunk };
}
