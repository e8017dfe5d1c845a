// Tests the table: medians, Petrel's share, and that no fault is left out.
import { expect, test } from "vitest";
import type { FanOutResult } from "./fan-out-result.js";
import type { MeasuredRound } from "../rounds/measured-round.js";
import { fanOutTable } from "./fan-out-table.js";

function round(nodeUs: number, verdict: Partial<MeasuredRound["verdict"]> = {}): MeasuredRound {
  const cpuUs = new Map([
    ["push-node-1", nodeUs],
    ["redis", 0.5],
    ["collect", 0.5],
  ]);
  return {
    cpuUs,
    totalUs: nodeUs + 1,
    seconds: 1,
    verdict: {
      deliveries: 10,
      expected: 10,
      subscribersWithout: 0,
      topicsInTwoOrders: 0,
      brokenOffsets: 0,
      ended: [],
      p50Ms: 2,
      p99Ms: 5,
      p999Ms: 6,
      ...verdict,
    },
  };
}

const result = (name: string, rounds: readonly MeasuredRound[]): FanOutResult => ({
  name,
  setUp: "",
  idleMsPerSecond: 70,
  rounds,
});

test("prints a line per contender with its median round, spread and Petrel's share", () => {
  const table = fanOutTable([
    result("Petrel", [round(30), round(9), round(11)]),
    result("Other", [round(23), round(23), round(19)]),
  ]);
  const [, petrel = "", other = ""] = table.split("\n");
  expect(petrel.split(/  +/).slice(0, 3)).toEqual(["Petrel", "12.0", "10.0–31.0"]);
  expect(other).toContain("0.50 ×");
  expect(other).toMatch(/ 70 .*all, one order$/);
  expect(table).toContain("Petrel: push-node-1 11.0 · redis 0.5 · collect 0.5");
});

test("lists a fault of any round below the table", () => {
  const faulty = round(9, { deliveries: 9, topicsInTwoOrders: 1, brokenOffsets: 2, ended: ["closed"] });
  const table = fanOutTable([result("Other", [round(9), faulty, round(9)])]);
  expect(table).toContain("see below");
  for (const line of [
    "9 of 10 deliveries",
    "1 topics in more than one order",
    "2 offsets",
    "1 connections ended",
  ])
    expect(table).toContain(`Other: ${line}`);
});
