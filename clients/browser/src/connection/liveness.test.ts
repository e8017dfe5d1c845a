// Tests how the client notices a silent server, on a fake clock.
// Guarantees: a probe keeps its deadline however often it is asked for; a frozen page's lost time is not judged.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Liveness } from "./liveness.js";

const PING_MS = 25_000;
const PROBE_MS = 5_000;
let pings: number;
let silences: number;
let liveness: Liveness;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  pings = 0;
  silences = 0;
  liveness = new Liveness({
    pingMs: PING_MS,
    sendPing: () => pings++,
    onSilence: () => silences++,
  });
});

afterEach(() => {
  liveness.stop();
  vi.useRealTimers();
});

describe("liveness", () => {
  it("treats silence for twice the interval as the end, once", () => {
    vi.advanceTimersByTime(2 * PING_MS - 1);
    expect([pings, silences]).toEqual([1, 0]);
    vi.advanceTimersByTime(10 * PING_MS);
    expect(silences).toBe(1);
  });

  it("keeps a probe's deadline when asked again and again", () => {
    for (let asked = 0; asked < 5; asked++) {
      liveness.probe(PROBE_MS);
      vi.advanceTimersByTime(PROBE_MS / 5);
    }
    expect([pings, silences]).toEqual([5, 1]);
  });

  it("shortens the wait for an answer that was expected later", () => {
    vi.advanceTimersByTime(PING_MS);
    liveness.probe(PROBE_MS);
    vi.advanceTimersByTime(PROBE_MS);
    expect(silences).toBe(1);
  });

  it("probes once more if its timer was late, then believes the silence", () => {
    liveness.probe(PROBE_MS);
    // The page is frozen: the clock goes on, and no timer fires.
    const stoodStillMs = 600_000;
    const now = performance.now.bind(performance);
    const spy = vi.spyOn(performance, "now").mockImplementation(() => now() + stoodStillMs);
    vi.advanceTimersByTime(PROBE_MS);
    expect([pings, silences]).toEqual([2, 0]);
    vi.advanceTimersByTime(1_000);
    expect(silences).toBe(1);
    spy.mockRestore();
  });

  it("counts a frame that arrived meanwhile as a sign of life", () => {
    liveness.probe(PROBE_MS);
    const now = performance.now.bind(performance);
    const spy = vi.spyOn(performance, "now").mockImplementation(() => now() + 600_000);
    vi.advanceTimersByTime(PROBE_MS);
    liveness.sawFrame();
    vi.advanceTimersByTime(PROBE_MS);
    expect(silences).toBe(0);
    spy.mockRestore();
  });
});
