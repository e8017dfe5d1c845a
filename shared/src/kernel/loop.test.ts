// kernel/loop: repeated work, one round at a time, until it is stopped.
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { Loop } from "./loop.js";

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

it("runs one round after the other until it is stopped", async () => {
  let [rounds, atOnce, mostAtOnce] = [0, 0, 0];
  const third = deferred();
  const loop = new Loop(async () => {
    mostAtOnce = Math.max(mostAtOnce, ++atOnce);
    await turn();
    atOnce--;
    if (++rounds === 3) third.resolve();
    return 0;
  });
  loop.start();
  loop.start();
  await third.promise;
  await loop.stop();
  const stoppedAt = rounds;
  await turn();
  expect(rounds).toBe(stoppedAt);
  expect(mostAtOnce).toBe(1);
});

it("a stop cuts the pause short", async () => {
  let rounds = 0;
  const loop = new Loop(() => {
    rounds++;
    return Promise.resolve(3_600_000);
  });
  loop.start();
  await loop.stop();
  expect(rounds).toBe(1);
});

it("a stop waits for the current round, which sees that it is asked to stop", async () => {
  const underWay = deferred();
  let seen: AbortSignal | undefined;
  const loop = new Loop(async (signal) => {
    seen = signal;
    await underWay.promise;
    return 0;
  });
  loop.start();
  let isStopped = false;
  const stopped = loop.stop().then(() => (isStopped = true));
  await turn();
  expect(seen?.aborted).toBe(true);
  expect(isStopped).toBe(false);
  underWay.resolve();
  await stopped;
});

it("without a start, a stop does nothing", async () => {
  await new Loop(() => Promise.resolve(0)).stop();
});
