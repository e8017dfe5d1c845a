// Tests the alternation of rounds, and what is made of them.
import { expect, test } from "vitest";
import { summarise } from "./figures.js";
import { inRounds, openOrFail } from "./in-rounds.js";

test("alternates rounds, ignores the first of each, and goes on when a contender fails", async () => {
  const order: string[] = [];
  const said: string[] = [];
  const named = (name: string, values: readonly number[]) => ({
    name,
    measure: async () => {
      order.push(name);
      const value = values[order.filter((one) => one === name).length - 1];
      if (value === undefined) throw new Error("broken");
      return { value, faults: value > 100 ? ["too much"] : [] };
    },
  });
  const figures = await inRounds([named("a", [999, 3, 1, 2]), named("b", [9, 9])], {
    rounds: 3,
    say: (line) => said.push(line),
  });
  expect(order.join("")).toBe("abababa");
  expect(figures.map(({ name, rounds, failed }) => [name, rounds.map(({ value }) => value), failed])).toEqual(
    [
      ["a", [3, 1, 2], undefined],
      ["b", [9], "broken"],
    ],
  );
  expect(said[0]).toContain("warm-up: a 999.0 · b 9.0");
});

test("a summary has the median round, the extremes, and every fault once", () => {
  const rounds = [
    { value: 5, faults: ["late"] },
    { value: 1, faults: ["late", "twice"] },
    { value: 3 },
    { value: 4 },
  ];
  expect(summarise({ name: "a", rounds })).toEqual({
    name: "a",
    median: { value: 3 },
    least: 1,
    most: 5,
    faults: ["late", "twice"],
  });
  expect(summarise({ name: "a", rounds: [] })).toBeUndefined();
});

test("a contender that cannot be opened fails alone", async () => {
  const broken = await openOrFail("broken", () => Promise.reject(new Error("no such server")));
  const sound = await openOrFail("sound", () => Promise.resolve(() => Promise.resolve({ value: 1 })));
  const figures = await inRounds([broken, sound], { rounds: 1, say: () => undefined });
  expect(figures.map(({ name, rounds, failed }) => [name, rounds.length, failed])).toEqual([
    ["broken", 0, "no such server"],
    ["sound", 1, undefined],
  ]);
});

test("more warm-up rounds can be configured", async () => {
  let measured = 0;
  const measure = () => Promise.resolve({ value: ++measured });
  const said: string[] = [];
  const [figures] = await inRounds([{ name: "a", measure }], {
    rounds: 2,
    warmUps: 3,
    say: (line) => said.push(line.trim()),
  });
  expect(figures?.rounds.map(({ value }) => value)).toEqual([4, 5]);
  expect(said.map((line) => line.slice(0, 7))).toEqual([
    "warm-up",
    "warm-up",
    "warm-up",
    "round 1",
    "round 2",
  ]);
});
