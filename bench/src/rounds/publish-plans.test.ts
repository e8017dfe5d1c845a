// Tests the ways to publish: every message once, as many at a time as there are publishers.
import { expect, test } from "vitest";
import { atRate, inClosedLoop } from "./publish-plans.js";

test("in a closed loop a publisher has one request in flight, and the last batch is the remainder", async () => {
  const busy = new Set<number>();
  const published: number[] = [];
  let most = 0;
  await inClosedLoop(
    async (publisher, n, count = 1) => {
      expect(busy.has(publisher)).toBe(false);
      busy.add(publisher);
      most = Math.max(most, busy.size);
      for (let i = 0; i < count; i++) published.push(n + i);
      await new Promise(setImmediate);
      busy.delete(publisher);
    },
    5,
    23,
    { publishers: 3, together: 4 },
  );
  expect(published).toEqual(Array.from({ length: 23 }, (_, i) => 5 + i));
  expect(most).toBe(3);
});

test("at a fixed rate, missing answers hold nothing back until all connections wait", async () => {
  const published: number[] = [];
  const answers: (() => void)[] = [];
  const all = atRate(
    (_connection, n) => {
      published.push(n);
      return new Promise((resolve) => answers.push(resolve));
    },
    1,
    70,
    100_000,
  );
  await expect.poll(() => published.length).toBe(64);
  for (const answer of answers.splice(0)) answer();
  await expect.poll(() => published.length).toBe(70);
  for (const answer of answers) answer();
  await all;
  expect(published).toEqual(Array.from({ length: 70 }, (_, i) => 1 + i));
});
