// Tests the log lines of something that happens without end.
// Guarantees: one line per interval, with a count.
import { expect, test } from "vitest";
import { createRareLog } from "./rare-log.js";

test("logs one line per interval and message, with its count", () => {
  let nowMs = 0;
  const lines: unknown[] = [];
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };
  const log = createRareLog({ warn: (...line: unknown[]) => void lines.push(line) }, 1_000, clock);
  for (let i = 0; i < 50; i++) log.warn("full");
  log.warn("other");
  nowMs = 999;
  log.warn("full");
  expect(lines).toEqual([
    [{ times: 1 }, "full"],
    [{ times: 1 }, "other"],
  ]);
  nowMs = 1_000;
  log.warn("full");
  log.warn("full");
  expect(lines.slice(2)).toEqual([[{ times: 51 }, "full"]]);
});
