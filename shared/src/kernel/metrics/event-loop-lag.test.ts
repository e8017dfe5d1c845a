// Tests how late the event loop is said to be, by a stepped clock.
import { Registry } from "prom-client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { addEventLoopLag } from "./event-loop-lag.js";

let registry: Registry;
let clockMs = 0;
let dueMs = 0;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  registry = new Registry();
  clockMs = 0;
  dueMs = 500;
  addEventLoopLag(registry, () => clockMs);
});
afterEach(() => vi.useRealTimers());

/** @param lateMs how late the loop comes to the look */
function look(lateMs: number): void {
  clockMs = dueMs + lateMs;
  vi.advanceTimersToNextTimer();
  dueMs = (Math.floor(clockMs / 500) + 1) * 500;
}

async function read(name: string): Promise<number> {
  const metric = `nodejs_eventloop_lag_${name === "" ? "" : `${name}_`}seconds`;
  const text = await registry.getSingleMetricAsString(metric);
  return Number(/ (\S+)$/m.exec(text.trim().split("\n").at(-1) ?? "")?.[1]);
}

test("reports nothing before the first sample", async () => {
  for (const name of ["min", "max", "mean", "stddev", "p50", "p90", "p99"]) expect(await read(name)).toBe(0);
});

test("one late sample in a hundred shows in the p99, and reading does not change that", async () => {
  for (let i = 0; i < 100; i++) look(i < 2 ? 400 : 0);
  for (let i = 0; i < 2; i++) {
    expect(await read("p99")).toBeCloseTo(0.4);
    expect(await read("p50")).toBe(0);
    expect(await read("max")).toBeCloseTo(0.4);
    expect(await read("mean")).toBeCloseTo(0.008);
    expect(await read("")).toBe(0);
  }
});

test("forgets it a minute later", async () => {
  look(400);
  expect(await read("")).toBeCloseTo(0.4);
  for (let i = 0; i < 119; i++) look(1);
  expect(await read("max")).toBeCloseTo(0.4);
  look(1);
  expect(await read("max")).toBeCloseTo(0.001);
});

test("reports the last sample's, too", async () => {
  const last = async (): Promise<number> => {
    const text = await registry.getSingleMetricAsString("nodejs_eventloop_lag_seconds");
    return Number(/ (\S+)$/.exec(text.trim())?.[1]);
  };
  expect(await last()).toBe(0);
  for (let i = 0; i < 121; i++) {
    look(i);
    expect(await last()).toBeCloseTo(i / 1000);
  }
});
