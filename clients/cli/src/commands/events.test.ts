// Tests `petrel events`.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

const pushed = {
  id: "0.a.b.0",
  type: "message.pushed",
  at: "2030-01-01T09:00:00.000Z",
  user: "alice",
  message: "p1_m",
  data: { channel: "apns" },
};
const vacated = {
  id: "1.a.b.0",
  type: "topic.vacated",
  at: "2030-01-01T09:00:01.000Z",
  topic: "room",
  data: { version: 7 },
};
const page = (items: readonly unknown[], nextAfter: string, gap = false) => ({
  status: 200,
  body: { items, nextAfter, gap },
});

it.each([
  [
    [],
    [
      '2030-01-01T09:00:00.000Z message.pushed alice p1_m {"channel":"apns"}',
      '2030-01-01T09:00:01.000Z topic.vacated #room {"version":7}',
    ],
  ],
  [["--json"], [JSON.stringify(pushed), JSON.stringify(vacated)]],
])("prints existing events, page by page, and where to continue, %j", async (options, lines) => {
  bench.answers.set("GET /v1/events?limit=1000", [page([pushed], "c1")]);
  bench.answers.set("GET /v1/events?limit=1000&after=c1", [page([vacated], "c2", true)]);
  bench.answers.set("GET /v1/events?limit=1000&after=c2", [page([], "c3")]);
  const run = bench.run(["events", ...options]);
  expect([await run.exitCode, run.out]).toEqual([0, lines]);
  expect(run.err).toEqual([
    "events are missing here: there were too many, or they were too old",
    "continue with --after c3",
  ]);
});

it("follows until interrupted, and continues after an outage", async () => {
  const path = "GET /v1/events?limit=1000&after=";
  const tail = "&types=message.pushed&waitSeconds=10";
  bench.answers.set(`${path}now${tail}`, [page([], "c1")]);
  bench.answers.set(`${path}c1${tail}`, [{ status: 503, body: {} }, page([pushed], "c2")]);
  bench.answers.set(`${path}c2${tail}`, [page([], "c2")]);
  const run = bench.run(["events", "--follow", "--after", "now", "--types", "message.pushed", "--json"]);
  await waitFor(() => run.out.length === 1, { what: "the event" });
  await waitFor(() => bench.asked.some(({ line }) => line.includes("after=c2")), {
    what: "the next request",
  });
  run.interrupt();
  expect([await run.exitCode, run.out]).toEqual([0, [JSON.stringify(pushed)]]);
  expect(run.err[0]).toContain("trying again");
  expect(run.err.at(-1)).toBe("continue with --after c2");
});

it("stops after a number of events", async () => {
  bench.answers.set("GET /v1/events?limit=1&waitSeconds=10", [page([pushed], "c1")]);
  const run = bench.run(["events", "--follow", "--count", "1"]);
  expect([await run.exitCode, run.out.length]).toEqual([0, 1]);
});

it("ends with collect's error for a wrong cursor, and with an error if nothing answers", async () => {
  const error = { code: "PETREL_INVALID_REQUEST", message: "no cursor", retryable: false };
  bench.answers.set("GET /v1/events?limit=1000&after=x&waitSeconds=10", [{ status: 400, body: { error } }]);
  const run = bench.run(["events", "--follow", "--after", "x"]);
  expect([await run.exitCode, run.out]).toEqual([1, []]);
  expect(run.err.join()).toContain("no cursor");
  expect(await bench.run(["events", "alice"]).exitCode).toBe(2);
  expect(await bench.run(["events", "--count", "0"]).exitCode).toBe(2);
});
