// Which spans of deliveries begin, and when those that wait for an acknowledgement end.
import type { Span, SpanAttributes, Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../connection/connection.js";
import { createTraceDeliveries, type TraceDeliveries } from "./trace-deliveries.js";

interface Recorded {
  readonly name: string;
  readonly context: string;
  readonly attributes: Record<string, unknown>;
  isEnded: boolean;
}

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
let spans: Recorded[];
let deliveries: TraceDeliveries;
const tracing: Tracing = {
  beginTrace: () => undefined,
  beginSpan: (name, context, { attributes }): Span | undefined => {
    if (context === undefined) return undefined;
    const recorded: Recorded = { name, context, attributes: { ...attributes }, isEnded: false };
    spans.push(recorded);
    return {
      traceId: "t",
      context: `child of ${context}`,
      set: (more: SpanAttributes) => void Object.assign(recorded.attributes, more),
      fail: () => undefined,
      end: () => (recorded.isEnded = true),
    };
  },
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  spans = [];
  deliveries = createTraceDeliveries({ tracing, nodeId: "node", longestWaitMs: 60_000 });
});
afterEach(() => {
  deliveries.stop();
  vi.useRealTimers();
});

function newConnection(id = "c1", isOpen = true): Connection {
  return { id, phase: "live", isOpen, keys: partitionKeys(2) } as Connection;
}
const send = (connection: Connection, seq: number, ofTrace: string | undefined = trace) =>
  deliveries.sent(connection, { seq, atMs: 1, priority: "normal", id: `m${seq}`, trace: ofTrace });
const outcomes = () =>
  spans.filter(({ name }) => name === "await ack").map(({ attributes }) => attributes["petrel.outcome"]);

test("starts nothing for an unsampled message", () => {
  const connection = newConnection();
  deliveries.sent(connection, { seq: 1, atMs: 1, priority: "normal", id: "m1" });
  deliveries.acked(connection, 1);
  deliveries.closed(connection);
  // Nor what was read for a connection that has closed meanwhile.
  send(newConnection("c2", false), 1);
  expect(spans).toEqual([]);
});

test("an acknowledgement ends what it covers, and nothing else", async () => {
  const [connection, other] = [newConnection(), newConnection("c2")];
  for (const seq of [1, 2, 3]) send(connection, seq);
  send(other, 1);
  await Promise.resolve();
  expect(spans.filter(({ name }) => name === "deliver").every(({ isEnded }) => isEnded)).toBe(true);
  deliveries.acked(connection, 2);
  expect(outcomes()).toEqual(["acknowledged", "acknowledged", undefined, undefined]);
  deliveries.acked(connection, 3);
  expect(outcomes()).toEqual(["acknowledged", "acknowledged", "acknowledged", undefined]);
  expect(spans.find(({ name }) => name === "await ack")).toMatchObject({
    context: `child of ${trace}`,
    attributes: {
      "messaging.message.id": "m1",
      "messaging.destination.partition.id": "2",
      "petrel.seq": 1,
      "petrel.priority": "normal",
      "petrel.node": "node",
      "petrel.connection": "c1",
    },
  });
});

test("a closing connection ends its own", () => {
  const [connection, other] = [newConnection(), newConnection("c2")];
  send(connection, 1);
  send(other, 1);
  deliveries.closed(connection);
  expect(outcomes()).toEqual(["closed", undefined]);
});

test("nothing waits longer than a minute", () => {
  const connection = newConnection();
  send(connection, 1);
  vi.advanceTimersByTime(40_000);
  send(connection, 2);
  vi.advanceTimersByTime(25_000);
  expect(outcomes()).toEqual(["unacknowledged", undefined]);
  vi.advanceTimersByTime(40_000);
  expect(outcomes()).toEqual(["unacknowledged", "unacknowledged"]);
});

test("keeps at most 64 per connection, ending the oldest, and 10,000 in all", () => {
  const connection = newConnection();
  for (let seq = 1; seq <= 70; seq++) send(connection, seq);
  expect(outcomes().filter((outcome) => outcome === undefined)).toHaveLength(64);
  expect(outcomes().slice(0, 7)).toEqual([...Array(6).fill("unacknowledged"), undefined]);
  for (let i = 0; i < 10_100; i++) send(newConnection(`x${i}`), 1);
  const open = outcomes().filter((outcome) => outcome === undefined);
  expect(open).toHaveLength(10_000);
  // Room again.
  deliveries.closed(connection);
  send(newConnection("late"), 1);
  expect(outcomes().filter((outcome) => outcome === undefined)).toHaveLength(10_000 - 64 + 1);
});

test("a stop ends them all", () => {
  send(newConnection(), 1);
  send(newConnection("c2"), 1);
  deliveries.stop();
  expect(outcomes()).toEqual(["closed", "closed"]);
});
