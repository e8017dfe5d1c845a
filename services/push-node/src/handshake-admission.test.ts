// How fast handshakes are let in: by a clock that the test moves, so that counts are exact.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describe, expect, test } from "vitest";
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
  const enter = (isGone: () => boolean = () => false): void => {
    const mine = next++;
    admission.enter({
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
  test("a burst at once, then no more than the time that passed allows", () => {
    const { clock, admitted, refused, crowd } = open();
    crowd(50);
    expect(admitted).toHaveLength(10);
    expect(refused).toHaveLength(40);
    clock.pass(50);
    crowd(50);
    expect(admitted).toHaveLength(15);
    // A long rest gives one burst, not what was not used.
    clock.pass(3_600_000);
    crowd(50);
    expect(admitted).toHaveLength(25);
  });

  test("parts of a turn add up", () => {
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

describe("those beyond it", () => {
  test("wait in their order, a bounded number, and are let in as time passes", async () => {
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

  test("who is gone takes no place", async () => {
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

  test("at the end they are refused", () => {
    const { admission, admitted, refused, crowd } = open({ maxWaitMs: 1_000 });
    crowd(30);
    admission.refuseAll();
    expect(admitted).toHaveLength(10);
    expect(refused).toHaveLength(20);
    expect(admission.waiting).toBe(0);
  });

  test("are told moments from 1 s on, spread over the time that serving them takes", () => {
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
