// Tests which clients are asked to move after a scale-up, and simulates where a balancer sends them.
// Guarantees: for any cluster and any balancer each client moves at most once; with least connections only the excess
// over the mean moves; with round robin the nodes end within a tenth of the mean.
import type { NodeLoad } from "@petrel/shared/redis/nodes/node-loads";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planRebalance } from "./plan-rebalance.js";

const load = (node: string, connections: number, joinedAtMs = 0): NodeLoad => ({
  node,
  connections,
  joinedAtMs,
});

describe("a plan", () => {
  test.each<[string, readonly NodeLoad[], number | undefined]>([
    ["a node alone", [load("a", 100)], undefined],
    ["an unknown node", [load("b", 100), load("c", 0)], undefined],
    ["a node above the mean", [load("a", 300), load("b", 300), load("c", 0, 9)], 100],
    ["a node below the mean", [load("a", 10), load("b", 300)], undefined],
    ["nearly even", [load("a", 205), load("b", 204), load("c", 191)], undefined],
    ["few clients, as even as can be", [load("a", 2), load("b", 1)], undefined],
    ["nobody", [load("a", 0), load("b", 0)], undefined],
  ])("%s", (_what, loads, share) => {
    expect(planRebalance(loads, "a")?.share).toBe(share);
  });

  test("clients that came after the newest node with too few joined stay", () => {
    const loads = [load("a", 300, 1), load("b", 300, 50), load("c", 0, 20), load("d", 0, 30)];
    expect(planRebalance(loads, "a")?.olderThanMs).toBe(30);
  });
});

interface Client {
  node: number;
  since: number;
  moves: number;
}

/** In rounds: all nodes report, then each asks up to `most`; those asked are elsewhere before the next round. */
function simulate(
  start: readonly number[],
  added: number,
  most: number,
  choose: (counts: number[]) => number,
) {
  const count = start.length + added;
  const clients: Client[] = start.flatMap((n, node) =>
    Array.from({ length: n }, () => ({ node, since: 0, moves: 0 })),
  );
  const counts = (): number[] => {
    const of = Array.from({ length: count }, () => 0);
    for (const { node } of clients) of[node] = (of[node] ?? 0) + 1;
    return of;
  };
  for (let round = 0; round < 100_000; round++) {
    const loads = counts().map((n, i) => load(String(i), n, i < start.length ? -1 : 1));
    const asked = loads.flatMap(({ node }) => {
      const plan = planRebalance(loads, node);
      if (plan === undefined) return [];
      const eligible = clients.filter((one) => one.node === Number(node) && one.since < plan.olderThanMs);
      return eligible.slice(0, Math.min(plan.share, most));
    });
    if (asked.length === 0) return { counts: counts(), clients };
    for (const client of asked) {
      client.node = -1;
      client.node = choose(counts());
      client.since = 2 + round;
      client.moves++;
    }
  }
  throw new Error("no end");
}

function roundRobin(): (counts: number[]) => number {
  let next = 0;
  return (counts) => next++ % counts.length;
}
const leastConnections = (counts: number[]): number => counts.indexOf(Math.min(...counts));

const clusters = fc.record({
  start: fc.array(fc.integer({ min: 150, max: 250 }), { minLength: 1, maxLength: 5 }),
  added: fc.integer({ min: 1, max: 3 }),
  most: fc.integer({ min: 1, max: 60 }),
});

test("by round robin: within a tenth of the mean, each client moves at most once", () => {
  fc.assert(
    fc.property(clusters, ({ start, added, most }) => {
      const { counts, clients } = simulate(start, added, most, roundRobin());
      const mean = clients.length / counts.length;
      for (const n of counts) expect(Math.abs(n - mean)).toBeLessThanOrEqual(mean / 10 + 1);
      expect(Math.max(...clients.map(({ moves }) => moves))).toBeLessThanOrEqual(1);
    }),
    { numRuns: 40 },
  );
});

test("by least connections: only the excess above the mean moves", () => {
  fc.assert(
    fc.property(clusters, ({ start, added, most }) => {
      const { counts, clients } = simulate(start, added, most, leastConnections);
      const mean = clients.length / counts.length;
      for (const n of counts) expect(Math.abs(n - mean)).toBeLessThanOrEqual(mean / 10 + 1);
      const above = start.reduce((sum, n) => sum + Math.max(0, n - Math.ceil(mean)), 0);
      const moved = clients.filter(({ moves }) => moves > 0).length;
      expect(moved).toBeLessThanOrEqual(above + counts.length);
      expect(Math.max(...clients.map(({ moves }) => moves))).toBeLessThanOrEqual(1);
    }),
    { numRuns: 40 },
  );
});

test("a balancer that sends everyone back ends it: nobody moves twice", () => {
  const { clients } = simulate([200, 200], 1, 20, () => 0);
  expect(Math.max(...clients.map(({ moves }) => moves))).toBe(1);
});

test("matches the documentation's figures: from two nodes to three", () => {
  const moved = (choose: (counts: number[]) => number): number =>
    simulate([300, 300], 1, 10, choose).clients.filter(({ moves }) => moves > 0).length / 600;
  const [robin, least] = [moved(roundRobin()), moved(leastConnections)];
  process.stdout.write(
    `rebalance from 2 to 3 nodes: ${robin} of the clients by round robin, ${least} by least\n`,
  );
  expect(robin).toBeGreaterThan(0.9);
  expect(least).toBeLessThan(0.35);
});
