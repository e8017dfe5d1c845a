// Bench: rounds of all contenders in turn.
// Guarantees: one contender works at a time; the first rounds of each are not counted; who fails is told, and the others
// go on.
import type { ContenderFigures, RoundFigures } from "./figures.js";

export interface Competitor {
  readonly name: string;
  readonly measure: () => Promise<RoundFigures>;
}

/** One that can't be opened fails by itself, in its first round. */
export async function openOrFail(
  name: string,
  open: () => Promise<Competitor["measure"]>,
): Promise<Competitor> {
  try {
    return { name, measure: await open() };
  } catch (error) {
    return { name, measure: () => Promise.reject(error) };
  }
}

export interface RoundsToRun {
  readonly rounds: number;
  /** Rounds before, which are not counted; one by default. */
  readonly warmUps?: number;
  readonly say: (line: string) => void;
}

export async function inRounds(
  competitors: readonly Competitor[],
  { rounds, warmUps = 1, say }: RoundsToRun,
): Promise<ContenderFigures[]> {
  const found = new Map(competitors.map((one) => [one, [] as RoundFigures[]]));
  const failed = new Map<Competitor, string>();
  for (let round = 1 - warmUps; round <= rounds; round++) {
    const line: string[] = [];
    for (const competitor of competitors) {
      if (failed.has(competitor)) continue;
      try {
        const figures = await competitor.measure();
        line.push(`${competitor.name} ${figures.value.toFixed(1)}`);
        if (round > 0) found.get(competitor)?.push(figures);
      } catch (error) {
        failed.set(competitor, error instanceof Error ? error.message : String(error));
        line.push(`${competitor.name} failed`);
      }
    }
    say(`  ${round <= 0 ? "warm-up" : `round ${round}`}: ${line.join(" · ")}`);
  }
  return [...found].map(([competitor, results]) => {
    const why = failed.get(competitor);
    return { name: competitor.name, rounds: results, ...(why === undefined ? {} : { failed: why }) };
  });
}
