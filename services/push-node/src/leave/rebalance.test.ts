// Tests when a node asks clients to move, how many, and how; on a test clock, with connections of the test's own.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { NodeLoad } from "@petrel/shared/redis/nodes/node-loads";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../connection/connection.js";
import { Rebalance, ROUND_MS } from "./rebalance.js";

const SETTLE_MS = 10_000;
/** When the newest node joined, by Redis' clock. */
const JOINED_MS = 1_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

class FakeConnection {
  isMoving = false;
  phase = "open";
  readonly member = "";
  readonly sent: { readonly afterMs: number; readonly reason: string }[] = [];
  closedWith: number | undefined;
  readonly connectTimeMs: number;

  constructor(connectTimeMs: number) {
    this.connectTimeMs = connectTimeMs;
  }
  get isOpen(): boolean {
    return this.closedWith === undefined;
  }
  send(frame: { readonly afterMs: number; readonly reason: string }): void {
    this.sent.push(frame);
  }
  close(code: number): void {
    this.closedWith = code;
  }
}

function open(count: number, connectTimeMs = 0) {
  const connections = Array.from({ length: count }, () => new FakeConnection(connectTimeMs));
  const state = { others: [load("b", 0)], isHeldUp: false, isDraining: false, fails: false, left: false };
  const reported: number[] = [];
  let asked = 0;
  const here = (): FakeConnection[] => connections.filter(({ isOpen }) => isOpen);
  const rebalance = new Rebalance({
    loads: {
      report: (own) => {
        reported.push(own);
        return state.fails
          ? Promise.reject(new Error("away"))
          : Promise.resolve([...state.others, load("a", own, 0)]);
      },
      leave: () => Promise.resolve(void (state.left = true)),
    },
    nodeId: "a",
    scripts: undefined as unknown as ScriptRunner,
    registry: {
      get size() {
        return here().length;
      },
      all: () => here() as unknown as Connection[],
    },
    clock: { wallMs: () => Date.now(), monotonicMs: () => Date.now() },
    logger: createLogger({ service: "test", level: "silent" }),
    perSecond: 5,
    settleMs: SETTLE_MS,
    isDraining: () => state.isDraining,
    isHeldUp: () => state.isHeldUp,
    onAsked: () => asked++,
    random: () => 0.5,
  });
  const wereAsked = (): FakeConnection[] => connections.filter(({ sent }) => sent.length > 0);
  return { rebalance, connections, state, reported, wereAsked, asked: () => asked };
}

function load(node: string, connections: number, joinedAtMs = JOINED_MS): NodeLoad {
  return { node, connections, joinedAtMs };
}

test("asks nobody until the set of nodes has been the same for a while", async () => {
  const { rebalance, state, wereAsked } = open(100);
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS - ROUND_MS);
  state.others = [load("c", 0)];
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  expect(wereAsked()).toEqual([]);
  // Redis was down: the set of nodes is observed anew.
  state.fails = true;
  await vi.advanceTimersByTimeAsync(ROUND_MS);
  state.fails = false;
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  expect(wereAsked()).toEqual([]);
  await vi.advanceTimersByTimeAsync(ROUND_MS);
  expect(wereAsked()).toHaveLength(10);
  rebalance.stop();
});

test("asks at most at the configured rate, and only the excess above the mean", async () => {
  const { rebalance, connections, state, wereAsked, asked, reported } = open(24);
  state.others = [load("b", 0), load("c", 24)];
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  expect(wereAsked()).toHaveLength(8);
  const [first, last] = [connections[0], connections[7]];
  expect(first?.sent).toEqual([{ type: "reconnect", afterMs: 125, reason: "PETREL_REBALANCING" }]);
  expect(last?.sent[0]?.afterMs).toBe(1_875);
  // Clients that were asked no longer count here; the other nodes report them.
  state.others = [load("b", 8), load("c", 24)];
  await vi.advanceTimersByTimeAsync(3 * ROUND_MS);
  expect(reported.slice(-1)).toEqual([16]);
  expect(asked()).toBe(8);
  rebalance.stop();
});

test("keeps the old socket for a second after its time, then closes it with 1012", async () => {
  const { rebalance, connections } = open(4);
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  const [first] = connections;
  expect(first?.sent[0]?.afterMs).toBe(500);
  await vi.advanceTimersByTimeAsync(1_499);
  expect(first?.closedWith).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(first?.closedWith).toBe(1012);
  rebalance.stop();
});

test("leaves clients that came after the new node joined, and those not yet welcomed or already moving", async () => {
  const { rebalance, connections, wereAsked } = open(6, JOINED_MS);
  const old = [new FakeConnection(0), new FakeConnection(0), new FakeConnection(0)];
  connections.push(...old);
  Object.assign(old[0] ?? {}, { isMoving: true });
  Object.assign(old[1] ?? {}, { phase: "registering" });
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS + 5 * ROUND_MS);
  expect(wereAsked()).toEqual([old[2]]);
  rebalance.stop();
});

test("asks nobody while the node stops, or its clients move for another reason", async () => {
  const { rebalance, state, wereAsked } = open(100);
  state.isHeldUp = true;
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS + 5 * ROUND_MS);
  expect(wereAsked()).toEqual([]);
  state.isHeldUp = false;
  await vi.advanceTimersByTimeAsync(ROUND_MS);
  expect(wereAsked()).not.toEqual([]);
  rebalance.stop();
});

test("a drained node does not count for the others, and joins anew afterwards", async () => {
  const { rebalance, state, wereAsked, reported } = open(100);
  await rebalance.start();
  state.isDraining = true;
  await vi.advanceTimersByTimeAsync(SETTLE_MS + 5 * ROUND_MS);
  expect(state.left).toBe(true);
  expect(reported).toHaveLength(1);
  expect(wereAsked()).toEqual([]);
  state.isDraining = false;
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  expect(wereAsked()).toEqual([]);
  await vi.advanceTimersByTimeAsync(ROUND_MS);
  expect(wereAsked()).not.toEqual([]);
  rebalance.stop();
});

test("a stop leaves clients already asked to the drain, and the other nodes know at once", async () => {
  const { rebalance, connections, state } = open(4);
  await rebalance.start();
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  rebalance.stop();
  await vi.advanceTimersByTimeAsync(10 * ROUND_MS);
  expect(connections.filter(({ closedWith }) => closedWith !== undefined)).toEqual([]);
  expect(state.left).toBe(true);
});
