// Tests that a bounded number of tasks runs at a time.
import { expect, test } from "vitest";
import { Semaphore } from "./semaphore.js";

test("never exceeds the limit, keeps the order, and a failure frees its slot", async () => {
  const semaphore = new Semaphore(3);
  const started: number[] = [];
  let running = 0;
  let most = 0;
  const tasks = Array.from({ length: 20 }, (_, i) =>
    semaphore
      .run(async () => {
        started.push(i);
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, i % 4));
        running--;
        if (i % 3 === 0) throw new Error(`task ${i}`);
        return i;
      })
      .catch((error: unknown) => String(error)),
  );
  const results = await Promise.all(tasks);
  expect(most).toBe(3);
  expect(started).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(results.filter((result) => typeof result === "string")).toHaveLength(7);
  expect(await semaphore.run(() => Promise.resolve("free again"))).toBe("free again");
});
