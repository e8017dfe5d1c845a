// Tests who is asked for a fresh token: one tab at a time, the next where the first brings none.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ownerOnly, TokenTurns } from "./token-turns.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("asks the token's own tab first, then the others, each once, and nobody after it was accepted", () => {
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

test("ends for all tabs, but a verdict about a token concerns only the tab that brought it", () => {
  expect(ownerOnly(4401, undefined)).toBe(true);
  expect(ownerOnly(4403, "PETREL_TOKEN_REVOKED")).toBe(true);
  for (const error of ["PETREL_DISCONNECTED", "PETREL_USER_ERASED", undefined])
    expect(ownerOnly(4403, error)).toBe(false);
  for (const code of [1006, 1012, 4409, 4429]) expect(ownerOnly(code, "PETREL_TOKEN_REVOKED")).toBe(false);
});
