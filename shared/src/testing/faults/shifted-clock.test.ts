// Tests the steppable clock on a real server: its time, the expiry of its keys, its next life.
import { expect, test } from "vitest";
import { probeRedis, type Reply } from "../../embedded-redis/resp-probe.js";
import { startRestartableRedis } from "../redis/restartable-redis.js";
import { openShiftedClock } from "./shifted-clock.js";

const HOUR_MS = 3_600_000;

test("a step applies at once, also to stored data, and in the server's next life", async (context) => {
  const redis = await startRestartableRedis();
  try {
    const { clock } = redis;
    if (clock === undefined) return context.skip("left out: no C compiler (`cc`) for the clock's library");
    const ask = (...commands: string[][]): Promise<Reply[]> => probeRedis(redis.current().url, commands);
    const aheadMs = async (): Promise<number> => {
      const [seconds] = (await ask(["TIME"]))[0] as readonly string[];
      return Number(seconds) * 1_000 - Date.now();
    };
    const isAbout = (hours: number) => expect.closeTo(hours * HOUR_MS, -5);
    expect(await aheadMs()).toEqual(isAbout(0));
    // It writes before it answers: a kill loses nothing.
    expect((await ask(["CONFIG", "GET", "appendfsync"]))[0]).toEqual(["appendfsync", "no"]);
    // Where the clock is behind this thread would take a whole core.
    expect((await ask(["CONFIG", "GET", "jemalloc-bg-thread"]))[0]).toEqual(["jemalloc-bg-thread", "no"]);

    await ask(
      ["SET", "short", "1", "PX", String(HOUR_MS / 2)],
      ["SET", "long", "1", "PX", String(3 * HOUR_MS)],
    );
    await clock.step(HOUR_MS);
    expect(await aheadMs()).toEqual(isAbout(1));
    expect((await ask(["EXISTS", "short"], ["EXISTS", "long"])).slice(0, 2)).toEqual([0, 1]);

    await clock.step(-3 * HOUR_MS);
    expect(await aheadMs()).toEqual(isAbout(-2));
    await redis.kill();
    await redis.startAgain();
    expect([clock.shiftMs(), await aheadMs()]).toEqual([-2 * HOUR_MS, isAbout(-2)]);
    expect((await ask(["PTTL", "long"]))[0]).toBeGreaterThan(4 * HOUR_MS);
  } finally {
    await redis.stop();
  }
}, 60_000);

test("without a compiler there is none, and if it is required that is an error", async () => {
  expect(await openShiftedClock("/nonexistent", { PATH: "" })).toBeUndefined();
  await expect(openShiftedClock("/nonexistent", { PATH: "", PETREL_REQUIRE_CLOCK: "1" })).rejects.toThrow(
    /no clock to step/,
  );
});
