// Tests the bench itself, small: Petrel and `ws` by hand, which need no download, deliver everything that is counted.
import { expect, test } from "vitest";
import { comparisonPage } from "../report/summary-table.js";
import { readCompareOptions } from "./compare-options.js";
import { runCompare } from "./run-compare.js";

test("compares two contenders in turn: single and batched messages, connections, memory; every delivery is seen", async () => {
  const small = "--users 2 --messages 40 --publishers 2 --batch 10 --connects 6 --rounds 1 --ack-delay-ms 20";
  const options = readCompareOptions([
    "--contenders",
    "petrel,ws",
    "--workloads",
    "single,batched,library,half-load,connect,storage",
    "--baseline",
    "/no/such/tree",
    ...small.split(" "),
  ]);
  if (options === undefined) throw new Error("no options");
  // At a rate that follows from the machine's speed.
  const comparison = await runCompare({ ...options, seconds: 0.2 }, () => undefined);
  expect(comparison.failed).toEqual([]);
  expect(comparison.leftOut).toEqual(["Petrel, baseline: /no/such/tree is no built tree"]);
  const figures = comparison.workloads.map(({ workload, contenders }) => [
    workload,
    contenders.map(({ name }) => name.split(" ")[0]),
  ]);
  const both = ["Petrel", "ws"];
  expect(figures).toEqual([
    ["single", both],
    // `ws` by hand takes none.
    ["batched", ["Petrel"]],
    ["library", ["Petrel"]],
    ["half-load", both],
    ["connect", both],
    ["storage", both],
  ]);
  for (const { workload, contenders } of comparison.workloads)
    for (const { name, rounds, failed } of contenders) {
      expect(failed, `${name}, ${workload}`).toBeUndefined();
      for (const { value, faults = [] } of rounds) {
        expect(faults, `${name}, ${workload}`).toEqual([]);
        if (workload !== "storage") expect(value, `${name}, ${workload}`).toBeGreaterThan(0);
      }
    }
  expect(comparisonPage(comparison)).toContain("- Left out: Petrel, baseline");
}, 240_000);
