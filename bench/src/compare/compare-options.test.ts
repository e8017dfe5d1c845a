// Tests the command line of the bench.
import { expect, test } from "vitest";
import { COMPARE_HELP, readCompareOptions } from "./compare-options.js";

test("reads defaults, --quick, and options given beside it", () => {
  const all = readCompareOptions([]);
  expect(all).toMatchObject({ rounds: 3, messages: 12_000, ackDelayMs: 300, baseline: undefined, nodes: [] });
  expect(all?.workloads).not.toContain("storm");
  expect(all?.contenders).not.toContain("floor");
  const quick = readCompareOptions(["--quick", "--messages", "70"]);
  expect(quick).toMatchObject({ rounds: 1, messages: 70 });
  expect(quick?.workloads).not.toContain("drops");
  expect(readCompareOptions(["--quick", "--workloads", "drops"])?.workloads).toEqual(["drops"]);
});

test("lists accept only known words and keep their order", () => {
  expect(
    readCompareOptions([
      "--workloads",
      "batched,single",
      "--contenders",
      "ws,petrel",
      "--redis",
      "valkey,8.2",
    ]),
  ).toMatchObject({
    workloads: ["single", "batched"],
    contenders: ["petrel", "ws"],
    redis: ["8.2", "valkey"],
  });
  expect(() => readCompareOptions(["--workloads", "fast"])).toThrow("--workloads fast: some of idle-cluster");
  expect(readCompareOptions(["--events", "all,none"])?.events).toEqual(["none", "all"]);
  expect(() => readCompareOptions(["--redis", "6"])).toThrow("--redis 6: some of 8.2, valkey");
});

test("reads Petrel's environment and the versions of Node", () => {
  expect(
    readCompareOptions(["--environment", "HAND_OVER=dispatch,PARTITIONS=1", "--node", "22,24.1.0"]),
  ).toMatchObject({ environment: { HAND_OVER: "dispatch", PARTITIONS: "1" }, nodes: ["22", "24.1.0"] });
  expect(() => readCompareOptions(["--environment", "hand-over"])).toThrow("pairs such as");
  expect(() => readCompareOptions(["--node", "latest"])).toThrow("versions such as");
});

test.each([
  ["--messages", "0"],
  ["--rate", "many"],
  ["--rounds", "1.5"],
  ["--ack-delay-ms", "-1"],
])("refuses %s %s", (name, value) => {
  expect(() => readCompareOptions([`${name}=${value}`])).toThrow(`${name} ${value}: a number from`);
});

test("help lists every option", () => {
  expect(readCompareOptions(["--help"])).toBeUndefined();
  for (const name of [
    "workloads",
    "contenders",
    "baseline",
    "node",
    "redis",
    "events",
    "environment",
    "plot",
    "storm",
  ])
    expect(COMPARE_HELP).toContain(`--${name}`);
});
