// Tests `petrel archive`.
// Guarantees: all pages are shown; the head once.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

const head = { server: "7.0.1", rows: 9, erasuresOpen: 0 };
const partition = (n: number) => ({
  partition: n,
  open: 3,
  overdue: 1,
  lagSeconds: 2.25,
  spooled: 4,
  redrive: { state: "running", looked: 2, driven: 1, changedAt: n === 0 ? null : "2030-01-01T00:00:00.000Z" },
});

test("shows the status, page by page, with an admin's key", async () => {
  const first = { ...head, items: [partition(0)], nextCursor: "0" };
  const last = { ...head, items: [partition(1)], nextCursor: null };
  bench.answers.set("GET /v1/archive?limit=50", [
    { status: 200, body: first },
    { status: 200, body: first },
  ]);
  bench.answers.set("GET /v1/archive?limit=50&cursor=0", [
    { status: 200, body: last },
    { status: 200, body: last },
  ]);
  const run = bench.run(["archive", "status"]);
  const line = "3 open, 1 overdue by up to 2.3 s, 4 spooled; redrive running, 2 looked at, 1 sent again";
  expect([await run.exitCode, run.out]).toEqual([
    0,
    [
      "server 7.0.1, about 9 messages, 0 erasures to finish",
      `partition 0: ${line}`,
      `partition 1: ${line} (2030-01-01T00:00:00.000Z)`,
    ],
  ]);
  expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
  const json = bench.run(["archive", "status", "--json"]);
  expect([await json.exitCode, json.out]).toEqual([0, [JSON.stringify(first), JSON.stringify(last)]]);
});

test("requests a redrive once", async () => {
  bench.answers.set("POST /v1/archive/redrive", [{ status: 202, body: { partitions: 8 } }]);
  const run = bench.run(["archive", "redrive"]);
  expect([await run.exitCode, run.out]).toEqual([
    0,
    ["8 partitions are being searched again; petrel archive status shows the progress"],
  ]);
  expect(bench.asked).toHaveLength(1);
});

test("reports that there is no archive", async () => {
  const error = { code: "PETREL_NOT_FOUND", message: "There is no message archive.", retryable: false };
  bench.answers.set("GET /v1/archive?limit=50", [{ status: 404, body: { error } }]);
  const run = bench.run(["archive", "status"]);
  expect([await run.exitCode, run.err]).toEqual([
    1,
    ["petrel: dispatch answered 404 PETREL_NOT_FOUND: There is no message archive."],
  ]);
});
