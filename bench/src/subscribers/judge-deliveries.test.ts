// Tests the verdict: each way to get a delivery wrong shows.
import { beforeEach, expect, test } from "vitest";
import { DeliveryLedger } from "./delivery-ledger.js";
import { judgeDeliveries, type DeliveryVerdict } from "./judge-deliveries.js";

const TOPICS = ["a", "a", "b"];
const published = new Map([
  ["a", [10, 11, 12]],
  ["b", [13]],
]);
let told: string[];
let ledger: DeliveryLedger;

beforeEach(() => {
  told = [];
  ledger = new DeliveryLedger(TOPICS, {
    onSeen: (n) => told.push(`seen ${n}`),
    onAll: () => told.push("all"),
  });
  ledger.begin({ first: 10, messages: 4, deliveries: 7, tellAt: 2 });
});

/** Delivers these numbers to a subscriber, with offsets that follow. */
function deliver(subscriber: number, numbers: readonly number[], offsets = numbers): void {
  for (const [i, n] of numbers.entries()) ledger.deliver(subscriber, n, 1_000, offsets[i] ?? -1);
}

function verdict(): DeliveryVerdict {
  return judgeDeliveries([ledger.report()], published);
}

const right = { deliveries: 7, expected: 7, subscribersWithout: 0, topicsInTwoOrders: 0, brokenOffsets: 0 };

test("accepts correct deliveries", () => {
  deliver(0, [10, 11, 12]);
  deliver(1, [10, 11, 12]);
  deliver(2, [13]);
  expect(verdict()).toMatchObject(right);
  expect(told).toEqual(["seen 10", "seen 11", "seen 12", "all"]);
  expect(verdict().p50Ms).toBeCloseTo(1, 1);
});

test("detects a missing, a repeated and a foreign message", () => {
  deliver(0, [10, 11]);
  deliver(1, [10, 11, 11], [1, 2, 3]);
  deliver(2, [12]);
  expect(verdict()).toMatchObject({ deliveries: 6, expected: 7, subscribersWithout: 3 });
});

test("detects two orders of one topic, and a skipped position", () => {
  deliver(0, [10, 12, 11], [1, 2, 3]);
  deliver(1, [10, 11, 12], [1, 3, 4]);
  deliver(2, [13]);
  expect(verdict()).toMatchObject({ ...right, topicsInTwoOrders: 1, brokenOffsets: 1 });
});

test("positions continue across rounds; a message that is late for a round is not counted in the next", () => {
  deliver(2, [13], [5]);
  ledger.begin({ first: 14, messages: 1, deliveries: 1, tellAt: 0 });
  deliver(2, [13], [6]);
  deliver(2, [14], [7]);
  const second = judgeDeliveries([ledger.report()], new Map([["b", [14]]]));
  expect(second).toMatchObject({ deliveries: 1, expected: 1, subscribersWithout: 0, brokenOffsets: 1 });
});

test("compares subscribers of a topic in two processes", () => {
  deliver(0, [10, 11, 12]);
  deliver(1, [10, 11, 12]);
  const other = new DeliveryLedger(["a"], { onSeen: () => undefined, onAll: () => undefined });
  other.begin({ first: 10, messages: 4, deliveries: 3, tellAt: 0 });
  for (const n of [11, 10, 12]) other.deliver(0, n, 1_000, -1);
  other.connectionEnded("gone");
  const both = judgeDeliveries([ledger.report(), other.report()], published);
  expect(both).toMatchObject({ topicsInTwoOrders: 1, ended: ["gone"] });
});
