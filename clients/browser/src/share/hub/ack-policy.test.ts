// Tests up to where the tabs' acks are passed on, and where a connection for all starts.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ackedBy, type TabAck } from "./ack-policy.js";
import { lowestBroadcast, lowestPosition } from "./merge-positions.js";
import { RecentMessages } from "./recent-messages.js";

const now = { nowMs: 10_000, silentMs: 5_000 };
const tab = (acked: number, sent: number, others: Partial<TabAck> = {}): TabAck => ({
  acked,
  sent,
  wants: true,
  heardAtMs: 9_000,
  ...others,
});

describe("an ack", () => {
  test("any: acknowledges as far as the furthest tab", () => {
    expect(ackedBy("any", [tab(3, 5), tab(5, 5), tab(0, 5)], now)).toBe(5);
    expect(ackedBy("any", [], now)).toBe(0);
  });

  test("all: acknowledges as far as the slowest tab that wants messages and is alive", () => {
    expect(ackedBy("all", [tab(3, 5), tab(5, 5)], now)).toBe(3);
    expect(ackedBy("all", [tab(0, 5, { wants: false }), tab(5, 5)], now)).toBe(5);
    expect(ackedBy("all", [tab(0, 5, { heardAtMs: 5_000 }), tab(5, 5)], now)).toBe(5);
    expect(ackedBy("all", [tab(0, 5, { heardAtMs: 5_001 }), tab(5, 5)], now)).toBe(0);
  });

  test("all never exceeds any, nor what a counted tab still owes", () => {
    const arbitrary = fc.array(
      fc.record({
        acked: fc.nat(20),
        sent: fc.nat(20),
        wants: fc.boolean(),
        heardAtMs: fc.integer({ min: 0, max: 10_000 }),
      }),
    );
    fc.assert(
      fc.property(arbitrary, (tabs) => {
        const all = ackedBy("all", tabs, now);
        expect(all).toBeLessThanOrEqual(ackedBy("any", tabs, now));
        for (const one of tabs) {
          const counts = one.wants && one.acked < one.sent && now.nowMs - one.heardAtMs < now.silentMs;
          if (counts) expect(all).toBeLessThanOrEqual(one.acked);
        }
      }),
    );
  });
});

describe("a shared connection", () => {
  test("starts where the tab that is furthest behind is, in the newest epoch", () => {
    const at = (epoch: string, since: number) => ({ epoch, since });
    expect(lowestPosition([at("e2", 9), undefined, at("e2", 7), at("e1", 3)])).toEqual(at("e2", 7));
    expect(lowestPosition([undefined])).toBeUndefined();
    expect(
      lowestBroadcast([
        { epoch: "t", offset: 4 },
        { epoch: "t", offset: 2 },
      ]),
    ).toEqual({ epoch: "t", offset: 2 });
  });

  test("keeps messages for tabs that come later, as far as there is room", () => {
    const recent = new RecentMessages(3, 10);
    for (const seq of [4, 5, 7]) recent.add({ seq, id: `m${seq}`, text: "1234" });
    // The first had to go: who has not seen it needs another connection.
    expect([recent.start, recent.after(4).map(({ seq }) => seq)]).toEqual([4, [5, 7]]);
    recent.remove("m5");
    expect(recent.after(0).map(({ seq }) => seq)).toEqual([7]);
    expect(recent.after(7)).toEqual([]);
  });
});
