// Tests what a signal, two signals, and npm's death mean.
// Guarantees: one key press that arrives twice (terminal and npm) is one; two are two.
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchInterrupts } from "./watch-interrupts.js";

class Host extends EventEmitter {
  ppid = 100;
}

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

test("the first interrupt stops cleanly, a later one at once", () => {
  const host = new Host();
  const { stopAsked, killAsked } = watchInterrupts(host, false);
  expect(stopAsked.aborted).toBe(false);
  host.emit("SIGINT");
  expect(stopAsked.aborted).toBe(true);
  vi.advanceTimersByTime(100);
  host.emit("SIGINT");
  expect(killAsked.aborted).toBe(false);
  vi.advanceTimersByTime(400);
  host.emit("SIGTERM");
  expect(killAsked.aborted).toBe(true);
});

test("npm's death stops cleanly; a shell's does not", () => {
  const [byNpm, byShell] = [new Host(), new Host()];
  const npm = watchInterrupts(byNpm, true);
  const shell = watchInterrupts(byShell, false);
  vi.advanceTimersByTime(2_000);
  expect(npm.stopAsked.aborted).toBe(false);
  byNpm.ppid = byShell.ppid = 1;
  vi.advanceTimersByTime(2_000);
  expect(npm.stopAsked.aborted).toBe(true);
  expect(npm.killAsked.aborted).toBe(false);
  expect(shell.stopAsked.aborted).toBe(false);
});
