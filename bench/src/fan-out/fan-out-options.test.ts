// Tests the command line of the fan-out bench.
import { expect, test } from "vitest";
import { FAN_OUT_HELP, readFanOutOptions } from "./fan-out-options.js";

test("reads defaults, --quick, --broadcast and explicit options", () => {
  expect(readFanOutOptions([])).toMatchObject({ sockets: 2_000, topics: 1_000, rate: 500, rounds: 3 });
  expect(readFanOutOptions(["--quick", "--topics", "50"])).toMatchObject({
    sockets: 300,
    topics: 50,
    rounds: 1,
  });
  const broadcast = readFanOutOptions(["--broadcast"]);
  expect(broadcast).toMatchObject({ broadcast: true, sockets: 10_000, loadProcesses: 2 });
});

test("lists keep their order and accept only known words", () => {
  const options = readFanOutOptions(["--only", "ws,petrel", "--workloads", "many,room", "--json", "-"]);
  expect(options).toMatchObject({ contenders: ["petrel", "ws"], workloads: ["room", "many"], json: "-" });
  expect(() => readFanOutOptions(["--only", "redis"])).toThrow("--only redis: some of floor, petrel");
  expect(() => readFanOutOptions(["--workloads", ""])).toThrow("--workloads");
});

test.each([
  ["--sockets", "0"],
  ["--rate", "many"],
  ["--rounds", "1.5"],
])("refuses %s %s", (name, value) => {
  expect(() => readFanOutOptions([name, value])).toThrow(`${name} ${value}: a number from 1 on`);
});

test("help lists every option and refuses unknown ones", () => {
  expect(readFanOutOptions(["--help"])).toBeUndefined();
  for (const name of [
    "workloads",
    "only",
    "load-processes",
    "broadcast",
    "every-ms",
    "quick",
    "json",
    "profile",
  ])
    expect(FAN_OUT_HELP).toContain(`--${name}`);
  expect(() => readFanOutOptions(["--socket", "1"])).toThrow("--socket");
});
