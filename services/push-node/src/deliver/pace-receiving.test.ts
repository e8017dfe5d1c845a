// Tests the pace by a clock that the test moves, and on a node: messages over the pace wait, in order.
// Guarantees: the bound holds in every window, for any arrivals; all of the rest arrives; nobody else waits.
import * as fc from "fast-check";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { ReceivePace } from "./pace-receiving.js";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";

function still(perSecond: number, burstMs?: number) {
  let nowMs = 5_000;
  const clock = { monotonicMs: () => nowMs };
  const pace = new ReceivePace({ clock, perSecond, ...(burstMs === undefined ? {} : { burstMs }) });
  return {
    pace,
    connection: { pacedUntilMs: 0, isOpen: true },
    pass: (ms: number) => void (nowMs += ms),
    nowMs: () => nowMs,
  };
}

describe("with a fake clock", () => {
  test("allows a burst of ten seconds' worth, then one message per part of a second", () => {
    const { pace, connection, pass, nowMs } = still(50);
    let sent = 0;
    while (pace.takeOne(connection, nowMs())) sent++;
    expect(sent).toBe(500);
    pass(20);
    expect(pace.allowance(connection)).toBe(1);
    expect(pace.takeOne(connection, nowMs())).toBe(true);
    expect(pace.takeOne(connection, nowMs())).toBe(false);
    pass(3_600_000);
    expect(pace.allowance(connection)).toBe(500);
  });

  test("off: no limit, and the clock is not read", () => {
    const pace = new ReceivePace({
      clock: {
        monotonicMs: () => {
          throw new Error("asked");
        },
      },
      perSecond: 0,
    });
    const connection = { pacedUntilMs: 0, isOpen: true };
    for (let i = 0; i < 10_000; i++) expect(pace.takeOne(connection, pace.nowMs())).toBe(true);
    pace.spend(connection, 1_000_000);
    expect(pace.allowance(connection)).toBe(Number.POSITIVE_INFINITY);
  });

  test("for any arrivals and pages: never more in a window than its burst and its time allow, and no less", () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 400 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 200 }), (steps, perSecond) => {
        const { pace, connection, pass, nowMs } = still(perSecond);
        const sentAt: { atMs: number; count: number }[] = [];
        for (const [ms, wanted, isPage] of steps) {
          pass(ms);
          let count = 0;
          if (isPage) {
            count = Math.min(wanted, pace.allowance(connection));
            pace.spend(connection, count);
          } else {
            while (count < wanted && pace.takeOne(connection, nowMs())) count++;
          }
          // Whoever got less than requested has had everything there was.
          if (count < wanted) expect(pace.allowance(connection)).toBe(0);
          sentAt.push({ atMs: nowMs(), count });
          for (let from = 0; from < sentAt.length; from++) {
            const window = sentAt.slice(from);
            const total = window.reduce((sum, one) => sum + one.count, 0);
            const seconds = (nowMs() - (window[0]?.atMs ?? 0)) / 1_000;
            expect(total).toBeLessThanOrEqual(perSecond * (10 + seconds) + 1e-6);
          }
        }
      }),
      { numRuns: sized(200, 80) },
    );
  });

  test("a closed connection does not wait on", async () => {
    const { pace, connection } = still(1);
    pace.spend(connection, 10);
    const ready = pace.ready(connection);
    connection.isOpen = false;
    await ready;
  });
});

describe("on a node", () => {
  let bench: NodeBench;
  beforeAll(async () => {
    bench = await openNodeBench();
  });
  afterAll(() => bench.close());

  test("delays the excess and keeps the order; another user's messages go out at once", async () => {
    const node = await bench.startNode({ receivePerUserPerSecond: 50, receiveBurstMs: 1_000 });
    const flooded = await join(node, "flooded", { ack: "turn" });
    const other = await join(node, "other", { ack: "turn" });
    const startMs = performance.now();
    await bench.acceptMany("flooded", 200);
    await bench.accept("other", 1);
    await other.untilMessages(1);
    expect(flooded.messages.length).toBeLessThan(200);
    await flooded.untilMessages(200, 20_000);
    const seconds = (performance.now() - startMs) / 1_000;
    expect(seqsOf(flooded)).toEqual(range(1, 200));
    // However slow this machine is: fewer seconds would exceed the pace.
    expect(200).toBeLessThanOrEqual(50 * (1 + seconds) + 1);
    // One wait for several messages, not one for each.
    expect(node.paced()).toBeGreaterThan(0);
    expect(node.paced()).toBeLessThan(80);
    await waitFor(async () => (await bench.user("flooded"))["acked"] === "200", { what: "the last ack" });
  });

  test("paces a backlog at connect too, and a connection that closes meanwhile leaves nothing behind", async () => {
    const node = await bench.startNode({ receivePerUserPerSecond: 20, receiveBurstMs: 500 });
    await bench.acceptMany("late", 60, "dispatch");
    const client = await join(node, "late");
    await client.untilMessages(10);
    await waitFor(() => node.paced() > 0, { what: "the wait" });
    expect(client.messages.length).toBeLessThan(60);
    client.close();
    await waitFor(() => node.registry.size === 0, { what: "its end" });
    const again = await join(node, "late", { ack: "turn" });
    await again.untilMessages(60, 20_000);
    expect(seqsOf(again)).toEqual(range(1, 60));
  });

  test("more waiting connections than pages may be read at a time do not delay anyone else's page", async () => {
    // One message at once, and the next in twenty seconds.
    const node = await bench.startNode({ receivePerUserPerSecond: 0.05 });
    const users = range(1, 40).map((n) => `waiting-${n}`);
    await Promise.all(users.map((user) => bench.acceptMany(user, 3, "dispatch")));
    await Promise.all(users.map((user) => join(node, user)));
    await waitFor(() => node.paced() >= 40, { what: "all of them to wait" });
    await bench.accept("late", 1, "dispatch");
    const late = await join(node, "late");
    await late.untilMessages(1);
    const waiting = [...node.registry.all()].filter(({ userId }) => userId.startsWith("waiting-"));
    expect(waiting.map(({ phase }) => phase)).toEqual(users.map(() => "catching-up"));
  });

  test("paces a connection with ack=auto and acknowledges messages as they are sent", async () => {
    const node = await bench.startNode({ receivePerUserPerSecond: 50, receiveBurstMs: 500 });
    const client = await join(node, "auto", { query: "ack=auto" });
    await bench.acceptMany("auto", 60);
    await client.untilMessages(60, 20_000);
    expect(seqsOf(client)).toEqual(range(1, 60));
    await waitFor(async () => (await bench.user("auto"))["acked"] === "60", { what: "the last ack" });
  });
});
