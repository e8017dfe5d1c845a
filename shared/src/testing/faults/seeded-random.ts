// Tests only: reproducible random choices.
// Guarantees: the same seed gives the same numbers, on every machine.

export interface SeededRandom {
  /** At least 0, less than 1. */
  readonly next: () => number;
  /** A whole number, at least `from`, less than `to`. */
  readonly between: (from: number, to: number) => number;
  readonly chance: (probability: number) => boolean;
  /** @throws RangeError if there is nothing to choose from */
  readonly pick: <T>(values: readonly T[]) => T;
  /** All of them, in random order. */
  readonly shuffled: <T>(values: readonly T[]) => T[];
}

/**
 * mulberry32: 32 bits of state, one of 2^32 sequences; far from cryptographic.
 * @param seed a whole number
 */
export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from));
  return {
    next,
    between,
    chance: (probability) => next() < probability,
    pick: (values) => {
      if (values.length === 0) throw new RangeError("nothing to choose from");
      return values[between(0, values.length)] as (typeof values)[number];
    },
    shuffled: (values) => {
      const left = [...values];
      return values.flatMap(() => left.splice(between(0, left.length), 1));
    },
  };
}

/** The quick suite repeats the same runs: it fails for a change, not by chance. */
const QUICK_SEED = 1;

/**
 * The seed of a fault test, printed so that a failure can be reproduced: `PETREL_TEST_SEED=… npx vitest run …`.
 * @param fallback used if the environment names none; without it, always the same in the quick suite, a new one each time
 *   in the full suite and with `PETREL_TEST_SEED=random`
 * @throws RangeError if the environment's is not a whole number
 */
export function chooseSeed(what: string, fallback?: number): number {
  const seed = seedOfRun(fallback) ?? Math.floor(Math.random() * 2 ** 31);
  process.stdout.write(`${what}: PETREL_TEST_SEED=${seed}\n`);
  return seed;
}

/**
 * @param fallback used if the environment names none
 * @returns undefined where each run is to take a new one
 * @throws RangeError if the environment's is not a whole number
 */
export function seedOfRun(fallback?: number): number | undefined {
  const given = process.env["PETREL_TEST_SEED"];
  if (given === "random") return undefined;
  if (given === undefined) {
    return fallback ?? (process.env["PETREL_TEST_SIZE"] === "full" ? undefined : QUICK_SEED);
  }
  const seed = Number(given);
  if (!Number.isSafeInteger(seed)) throw new RangeError(`PETREL_TEST_SEED=${given} is not a whole number`);
  return seed;
}
