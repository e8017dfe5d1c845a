// Tests when a service stops being ready: at once for a decision, late for a fault that may pass.
// Guarantees: a load balancer never sees a fault shorter than the patience; the answer still names it.
import { beforeEach, expect, test } from "vitest";
import { createReadiness } from "./patient-readiness.js";

let nowMs: number;
let fault: string | undefined;
let draining: string | undefined;
let sockets: number;
let asked: number;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const open = () =>
  createReadiness({
    patient: {
      redis: async () => {
        asked++;
        if (fault !== undefined) throw new Error(fault);
      },
    },
    atOnce: { draining: () => draining },
    isHeld: () => sockets > 0,
    patienceMs: 30_000,
    clock,
  });

beforeEach(() => {
  nowMs = 1_000;
  fault = undefined;
  draining = undefined;
  sockets = 0;
  asked = 0;
});

test("a fault counts once it has lasted, and is named from its beginning", async () => {
  const readiness = open();
  expect(await readiness()).toEqual({ ready: true, checks: { redis: "ok", draining: "ok" } });
  fault = "gone";
  expect(await readiness()).toEqual({ ready: true, checks: { redis: "gone", draining: "ok" } });
  nowMs += 29_999;
  expect((await readiness()).ready).toBe(true);
  nowMs += 1;
  expect((await readiness()).ready).toBe(false);
  fault = undefined;
  expect((await readiness()).ready).toBe(true);
  // The next fault has its own time.
  fault = "gone again";
  expect((await readiness()).ready).toBe(true);
});

test("a part that is asked rarely does not count as failing all the time since", async () => {
  const readiness = open();
  await readiness();
  nowMs += 600_000;
  fault = "gone";
  expect((await readiness()).ready).toBe(true);
});

test("what has never worked counts at once, and so does a drain", async () => {
  fault = "not yet";
  sockets = 1;
  const readiness = open();
  expect((await readiness()).ready).toBe(false);
  fault = undefined;
  expect((await readiness()).ready).toBe(true);
  draining = "stopping";
  expect(await readiness()).toEqual({ ready: false, checks: { redis: "ok", draining: "stopping" } });
});

test("a service that holds sockets stays ready, however long the fault lasts", async () => {
  const readiness = open();
  await readiness();
  sockets = 1;
  fault = "gone";
  await readiness();
  nowMs += 3_600_000;
  expect((await readiness()).ready).toBe(true);
  sockets = 0;
  expect((await readiness()).ready).toBe(false);
});

test("a part that does not answer is a fault like any other, and is asked once", async () => {
  let answer: () => void = () => undefined;
  let hangs = false;
  const readiness = createReadiness({
    patient: {
      redis: async () => {
        asked++;
        if (hangs) await new Promise<void>((resolve) => (answer = resolve));
      },
    },
    patienceMs: 30_000,
    clock,
  });
  await readiness();
  hangs = true;
  const silent = { ready: true, checks: { redis: "no answer within 500 ms" } };
  expect(await Promise.all([readiness(), readiness()])).toEqual([silent, silent]);
  expect(await readiness()).toEqual(silent);
  expect(asked).toBe(2);
  nowMs += 30_000;
  expect((await readiness()).ready).toBe(false);
  hangs = false;
  answer();
  expect((await readiness()).ready).toBe(true);
});
