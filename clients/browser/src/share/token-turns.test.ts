// Tests who is asked for a fresh token: one tab at a time, the next where the first brings none.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TokenTurns } from "./token-turns.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("whose token it is comes first, then another, each once, and nobody after it was accepted", () => {
  const asked: string[] = [];
  const turns = new TokenTurns("b", {
    say: (socket, text) => {
      if (text.startsWith("{"))
        asked.push(`${socket} ${String((JSON.parse(text) as { inSeconds: number }).inSeconds)}`);
    },
    sockets: () => ["a.1", "b.1", "c.1"],
  });
  turns.ask(30);
  expect(asked).toEqual(["b.1 30"]);
  vi.advanceTimersByTime(18_000);
  expect(asked).toEqual(["b.1 30", "a.1 12"]);
  turns.given("a.1", "a");
  // Until it is accepted a verdict is about it, or about none.
  expect(turns.liable).toBe("a");
  turns.refused("not now");
  expect(turns.liable).toBe("b");
  turns.given("a.1", "a");
  turns.accepted();
  vi.advanceTimersByTime(60_000);
  expect([asked.length, turns.liable, turns.isAsking]).toEqual([2, "a", false]);
  // Its next end asks the one whose token it is now.
  turns.ask(10);
  expect(asked.at(-1)).toBe("a.1 10");
});
