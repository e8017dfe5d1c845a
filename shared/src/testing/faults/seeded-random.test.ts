// Tests the seeded random numbers.
import * as fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { chooseSeed, seededRandom, seedOfRun } from "./seeded-random.js";

afterEach(() => vi.unstubAllEnvs());

test("the same seed gives the same numbers, another seed others", () => {
  const draw = (seed: number): number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 20 }, random.next);
  };
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
  expect(draw(7).every((value) => value >= 0 && value < 1)).toBe(true);
});

test("whole numbers cover their range and stay within it", () => {
  const random = seededRandom(1);
  const drawn = Array.from({ length: 300 }, () => random.between(3, 6));
  expect(new Set(drawn)).toEqual(new Set([3, 4, 5]));
  expect(random.pick(["only"])).toBe("only");
  expect(() => random.pick([])).toThrow(RangeError);
  expect(new Set(random.shuffled([1, 2, 3, 4]))).toEqual(new Set([1, 2, 3, 4]));
  expect([random.chance(1), random.chance(0)]).toEqual([true, false]);
});

test("the environment's seed wins, and an invalid one is refused", () => {
  vi.stubEnv("PETREL_TEST_SEED", "42");
  expect(chooseSeed("test", 7)).toBe(42);
  vi.stubEnv("PETREL_TEST_SEED", "x");
  expect(() => chooseSeed("test", 7)).toThrow("PETREL_TEST_SEED=x");
  vi.stubEnv("PETREL_TEST_SEED", undefined);
  expect(chooseSeed("test", 7)).toBe(7);
});

test("the quick suite repeats its seeds, property tests included; the full one takes new ones", () => {
  vi.stubEnv("PETREL_TEST_SEED", undefined);
  vi.stubEnv("PETREL_TEST_SIZE", undefined);
  expect(seedOfRun()).toBe(1);
  expect(chooseSeed("test")).toBe(chooseSeed("test"));
  vi.stubEnv("PETREL_TEST_SIZE", "full");
  expect(seedOfRun()).toBeUndefined();
  expect(chooseSeed("test")).not.toBe(chooseSeed("test"));
  vi.stubEnv("PETREL_TEST_SIZE", undefined);
  vi.stubEnv("PETREL_TEST_SEED", "random");
  expect(seedOfRun(7)).toBeUndefined();
});

test("property tests use the run's seed", () => {
  expect(fc.readConfigureGlobal()?.seed).toBe(seedOfRun());
});
