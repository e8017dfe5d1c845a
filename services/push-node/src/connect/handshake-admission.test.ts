// How fast handshakes are admitted: by a clock that the test moves, so that counts are exact.
import { waitFor } from "@petrel/shared/testing/wait-for";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { HandshakeAdmission, type HandshakeAdmissionOptions } from "./handshake-admission.js";

/** Stands still until it is moved. */
function stillClock() {
  let nowMs = 1_000;
  return { wallMs: () => nowMs, monotonicMs: () => nowMs, pass: (ms: number) => void (nowMs += ms) };
}

function open(options: Partial<HandshakeAdmissionOptions> = {}) {
  const clock = stillClock();
  const admission = new HandshakeAdmission({ clock, perSecond: 100, burst: 10, maxWaitMs: 0, ...options });
  const admitted: number[] = [];
  const refused: number[] = [];
  let next = 0;
  const enter = (isGone: () => boolean = () => false, address = "one"): void => {
    const mine = next++;
    admission.enter({
      address,
      isGone,
      admit: () => admitted.push(mine),
      refuse: (retryAfterSeconds) => refused.push(retryAfterSeconds),
    });
  };
  const crowd = (count: number): void => {
    for (let i = 0; i < count; i++) enter();
  };
  return { clock, admission, admitted, refused, enter, crowd };
}

describe("the rate", () => {
  test("admits a burst at once, then no more than the elapsed time allows", () => {
    const { clock, admitted, refused, crowd } = open();
    crowd(50);
    expect(admitted).toHaveLength(10);
    expect(refused).toHaveLength(40);
    clock.pass(50);
    crowd(50);
    expect(admitted).toHaveLength(15);
    // A long idle time gives one burst, not everything that was unused.
    clock.pass(3_600_000);
    crowd(50);
    expect(admitted).toHaveLength(25);
  });

  test("accumulates parts of a turn", () => {
    const { clock, admitted, crowd } = open({ perSecond: 3, burst: 1 });
    crowd(1);
    for (let ms = 0; ms < 10_000; ms += 10) {
      clock.pass(10);
      crowd(1);
    }
    expect(admitted.length).toBeGreaterThanOrEqual(30);
    expect(admitted.length).toBeLessThanOrEqual(31);
  });
});

describe("handshakes beyond it", () => {
  test("are admitted together, in steps of 40 ms: they share calls to Redis and wake-ups", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    try {
      const { clock, admitted, crowd } = open({ perSecond: 500, burst: 25, maxWaitMs: 200 });
      crowd(60);
      expect(admitted).toHaveLength(25);
      clock.pass(39);
      vi.advanceTimersByTime(39);
      expect(admitted).toHaveLength(25);
      clock.pass(1);
      vi.advanceTimersByTime(1);
      // Twenty turns, in two turns of the event loop.
      expect(admitted).toHaveLength(37);
      await new Promise((resolve) => setImmediate(resolve));
      expect(admitted).toHaveLength(45);
    } finally {
      vi.useRealTimers();
    }
  });

  test("wait in order, a bounded number, and are admitted as time passes", async () => {
    const { clock, admission, admitted, refused, crowd } = open({ maxWaitMs: 200 });
    crowd(50);
    expect(admitted).toHaveLength(10);
    expect(admission.waiting).toBe(20);
    expect(refused).toHaveLength(20);
    clock.pass(100);
    await waitFor(() => admitted.length >= 20, { what: "ten more" });
    expect(admitted).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(admission.waiting).toBe(10);
    // Nobody overtakes those who wait.
    crowd(1);
    expect(admitted).toHaveLength(20);
    clock.pass(3_600_000);
    await waitFor(() => admission.waiting === 1, { what: "one burst" });
    clock.pass(10);
    await waitFor(() => admitted.length === 31, { what: "the last one" });
    expect(admitted.at(-1)).toBe(50);
  });

  test("take no slot once gone", async () => {
    const { clock, admission, admitted, enter, crowd } = open({ burst: 1, maxWaitMs: 1_000 });
    crowd(1);
    let isGone = false;
    for (let i = 0; i < 5; i++) enter(() => isGone);
    enter();
    isGone = true;
    clock.pass(10);
    await waitFor(() => admission.waiting === 0, { what: "an empty line" });
    expect(admitted).toEqual([0, 6]);
  });

  test("are refused at the end", () => {
    const { admission, admitted, refused, crowd } = open({ maxWaitMs: 1_000 });
    crowd(30);
    admission.refuseAll();
    expect(admitted).toHaveLength(10);
    expect(refused).toHaveLength(20);
    expect(admission.waiting).toBe(0);
  });

  test("get retry times from 1 s on, spread over the time it takes to serve them", () => {
    const { refused, crowd } = open();
    crowd(2_010);
    expect(Math.min(...refused)).toBe(1);
    expect(Math.max(...refused)).toBeGreaterThan(15);
    expect(Math.max(...refused)).toBeLessThanOrEqual(30);
    const { refused: few, crowd: smallCrowd } = open();
    smallCrowd(60);
    expect(Math.max(...few)).toBeLessThanOrEqual(3);
    expect(new Set(few).size).toBeGreaterThan(1);
  });
});

/** Handshakes from several addresses: which were admitted, and which refused, in order. */
function openShared(options: Partial<HandshakeAdmissionOptions>) {
  const clock = stillClock();
  const admission = new HandshakeAdmission({ clock, perSecond: 100, burst: 1, maxWaitMs: 200, ...options });
  const admitted: string[] = [];
  const refused: string[] = [];
  const enter = (address: string, isGone = () => false): void =>
    admission.enter({
      address,
      isGone,
      admit: () => admitted.push(address),
      refuse: () => refused.push(address),
    });
  return { clock, admission, admitted, refused, enter };
}

describe("shares by address", () => {
  test("a lone handshake is admitted next, however many wait from elsewhere", async () => {
    const { clock, admitted, refused, enter } = openShared({ burst: 5 });
    for (let i = 0; i < 500; i++) enter("flood");
    enter("quiet");
    expect(refused).not.toContain("quiet");
    clock.pass(30);
    await waitFor(() => admitted.includes("quiet"), { what: "its turn" });
    // A burst at once, and at most one turn of the flood's before it.
    expect(admitted.indexOf("quiet")).toBeLessThanOrEqual(6);
  });

  test("of many addresses none gets more than its share of a full queue", () => {
    const { admission, refused, enter } = openShared({ burst: 1 });
    enter("first");
    for (let i = 0; i < 300; i++) enter(`a${i % 4}`);
    expect(admission.waiting).toBe(20);
    expect(refused).toHaveLength(280);
    enter("late");
    expect(refused).toHaveLength(281);
    expect(refused.at(-1)).not.toBe("late");
  });

  const arrivals = fc.array(
    fc.record({ address: fc.integer({ min: 0, max: 5 }).map((n) => `a${n}`), gone: fc.boolean() }),
    { maxLength: 300 },
  );
  test("whatever comes: bounded, each answered once, no address behind by more than one", () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 0, max: 40 }), (handshakes, places) => {
        const clock = stillClock();
        const admission = new HandshakeAdmission({
          clock,
          perSecond: 1_000,
          burst: 1,
          maxWaitMs: places,
        });
        const waiting = new Map<string, number>();
        let answered = 0;
        for (const { address, gone } of handshakes) {
          let isMine = true;
          const leave = (): void => {
            expect(isMine).toBe(true);
            isMine = false;
            answered++;
            waiting.set(address, (waiting.get(address) ?? 0) - 1);
          };
          waiting.set(address, (waiting.get(address) ?? 0) + 1);
          admission.enter({ address, isGone: () => gone && !isMine, admit: leave, refuse: leave });
          expect(admission.waiting).toBeLessThanOrEqual(places);
          const counts = [...waiting.values()];
          expect(counts.reduce((sum, count) => sum + count, 0)).toBe(admission.waiting);
          // Who was refused had, with the one refused, no less than the largest but one.
          if (!isMine && admission.waiting === places && places > 0) {
            expect((waiting.get(address) ?? 0) + 1).toBeGreaterThanOrEqual(Math.max(...counts));
          }
        }
        admission.refuseAll();
        expect(answered).toBe(handshakes.length);
        expect(admission.waiting).toBe(0);
      }),
    );
  });

  test("turns rotate: among those who always wait, none is two turns ahead of another", async () => {
    const { clock, admission, admitted, enter } = openShared({ burst: 50, maxWaitMs: 2_000 });
    for (let i = 0; i < 50; i++) enter("before");
    const sizes = [60, 7, 20, 40];
    for (const [n, size] of sizes.entries()) for (let i = 0; i < size; i++) enter(`a${n}`);
    admitted.length = 0;
    while (admission.waiting > 0) {
      const { waiting } = admission;
      clock.pass(100);
      await waitFor(() => admission.waiting <= Math.max(0, waiting - 10), { what: "ten more", everyMs: 1 });
    }
    const counts = sizes.map(() => 0);
    for (const address of admitted) {
      const n = Number(address.slice(1));
      counts[n] = (counts[n] ?? 0) + 1;
      const open = counts.filter((count, other) => count < (sizes[other] ?? 0));
      if (open.length > 1) expect(Math.max(...open) - Math.min(...open)).toBeLessThanOrEqual(1);
    }
    expect(counts).toEqual(sizes);
  });
});
