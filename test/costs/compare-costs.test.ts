// Tests the comparison that the guard of costs relies on.
import { expect, test } from "vitest";
import { compareCosts } from "./compare-costs.js";

test("names what has grown by more than a tenth, with both figures", () => {
  const committed = { accept: { "command hget": 1, "bytes in": 1_000 } };
  expect(compareCosts(committed, { accept: { "command hget": 2, "bytes in": 1_100 } })).toEqual({
    grown: ["accept, command hget: 1 -> 2"],
    shrunk: [],
  });
  expect(compareCosts(committed, { accept: { "command hget": 1, "bytes in": 1_101 } }).grown).toEqual([
    "accept, bytes in: 1000 -> 1101",
  ]);
});

test("counts a new command, and a newly measured step, as grown", () => {
  const committed = { accept: { "command hget": 1 } };
  const measured = { accept: { "command hget": 1, "command zadd": 1 }, ack: { "command hget": 1 } };
  expect(compareCosts(committed, measured).grown).toEqual([
    "accept, command zadd: 0 -> 1",
    "ack, command hget: 0 -> 1",
  ]);
});

test("reports what has shrunk or gone, and does not count it as grown", () => {
  const committed = { accept: { "command hget": 2, "command zadd": 1, "bytes in": 100 } };
  const measured = { accept: { "command hget": 1, "bytes in": 95 } };
  expect(compareCosts(committed, measured)).toEqual({
    grown: [],
    shrunk: ["accept, command hget: 2 -> 1", "accept, command zadd: 1 -> 0"],
  });
});
