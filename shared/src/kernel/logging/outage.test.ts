// Tests the log lines of something that fails for a while, on a test clock.
import { expect, test } from "vitest";
import { Outage } from "./outage.js";

test("logs one line when it begins, when its reason changes, and when it is over", () => {
  let nowMs = 0;
  const lines: unknown[] = [];
  const note = (...line: unknown[]): void => void lines.push(line);
  const outage = new Outage({
    logger: { warn: note, info: note },
    failing: "fails",
    over: "is back",
    fields: { role: "r" },
    clock: { wallMs: () => 0, monotonicMs: () => nowMs },
  });
  outage.end();
  for (let i = 0; i < 1_000; i++) outage.fail("ECONNREFUSED");
  expect(outage.reason).toBe("ECONNREFUSED");
  expect(lines).toEqual([[{ role: "r", reason: "ECONNREFUSED" }, "fails"]]);
  nowMs = 5_000;
  outage.fail("WRONGPASS");
  expect(lines.splice(0)).toHaveLength(2);
  // Two alternating reasons, as from two addresses: at most one line a second.
  for (; nowMs < 8_000; nowMs += 10) outage.fail(nowMs % 20 === 0 ? "a" : "b");
  expect(lines.splice(0)).toHaveLength(2);
  outage.end();
  outage.end();
  expect(lines.splice(0)).toEqual([[{ role: "r", failures: 1_301 }, "is back"]]);
  expect(outage.reason).toBeUndefined();
  outage.fail("a");
  expect(lines).toHaveLength(1);
});
