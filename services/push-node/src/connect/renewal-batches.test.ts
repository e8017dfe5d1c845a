// Tests how renewals share calls: few connections wait for more, many do not; each has its turn twice in a lease, and in
// one of the two its user's routes are kept, too.
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../connection/connection.js";
import { ConnectionRegistry } from "../connection/connection-registry.js";
import { createStoppedClock } from "../testing/stepped-clock.js";
import type { NodeRoutes } from "./node-routes.js";
import type { RegisterConnections } from "./register-connection.js";
import { createLeaseRenewal } from "./renew-leases.js";

const SLOTS = 20;
const LEASE_MS = 40_000;
const BEAT_MS = 1_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

interface Call {
  readonly ids: readonly string[];
  readonly keepsRoutes: boolean;
}

/** A node with that many connections in each slot, for half a lease after half a lease. */
function openRenewal(perSlot: number) {
  const registry = new ConnectionRegistry(SLOTS);
  const keys = partitionKeys(0);
  for (let i = 0; i < perSlot * SLOTS; i++) {
    registry.add({
      id: `c${i}`,
      userId: `u${i}`,
      keys,
      member: `m${i}`,
      isOpen: true,
    } as unknown as Connection);
  }
  const calls: Call[] = [];
  const routes = {
    limits: { leaseMs: LEASE_MS },
    renew: (_keys: unknown, batch: readonly Connection[], keepsRoutes: boolean) => {
      calls.push({ ids: batch.map(({ id }) => id), keepsRoutes });
      return Promise.resolve([]);
    },
  } as unknown as NodeRoutes;
  const clock = createStoppedClock();
  const renewal = createLeaseRenewal({
    registry,
    routes,
    registrations: {} as unknown as RegisterConnections,
    clock,
    semaphore: new Semaphore(1),
    logger: createLogger({ service: "test", level: "silent" }),
  });
  renewal.start();
  return {
    /** The calls of that many beats. */
    beats: (count: number): Call[] => {
      for (let i = 0; i < count; i++) {
        clock.step(BEAT_MS);
        vi.advanceTimersByTime(BEAT_MS);
      }
      return calls.splice(0);
    },
  };
}

const idsOf = (calls: readonly Call[]): string[] => calls.flatMap(({ ids }) => ids).sort();

test("few connections share a call with those of the next four batches; all have their turn in half a lease", () => {
  const { beats } = openRenewal(3);
  beats(SLOTS - 1);
  const calls = beats(SLOTS);
  expect(calls.map(({ ids }) => ids.length)).toEqual([15, 15, 15, 15]);
  expect(new Set(idsOf(calls)).size).toBe(3 * SLOTS);
});

test("enough of them wait for nobody", () => {
  const { beats } = openRenewal(400);
  beats(SLOTS - 1);
  const calls = beats(SLOTS);
  expect(calls.map(({ ids }) => ids.length)).toEqual(Array.from({ length: 2 * SLOTS }, () => 200));
  expect(new Set(idsOf(calls)).size).toBe(400 * SLOTS);
});

test.each([1, 150, 400])(
  "with %i in a slot, each keeps its user's routes in every second renewal",
  (perSlot) => {
    const { beats } = openRenewal(perSlot);
    beats(SLOTS - 1);
    const rounds = [beats(SLOTS), beats(SLOTS), beats(SLOTS)];
    const kept = rounds.map((calls) => idsOf(calls.filter(({ keepsRoutes }) => keepsRoutes)).length);
    expect(kept).toEqual(kept[0] === 0 ? [0, perSlot * SLOTS, 0] : [perSlot * SLOTS, 0, perSlot * SLOTS]);
  },
);
