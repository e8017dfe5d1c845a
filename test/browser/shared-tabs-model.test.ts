// Tests tabs that share a connection, in memory: real clients in tabs that open, close, freeze, thaw and crash at random.
// Guarantees: every tab that lives shows each message once and in order; in the end one connection serves them all.
import * as fc from "fast-check";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { sized } from "../support/sizes.js";
import { FakeBrowser } from "../support/tabs/fake-browser.js";
import { FakePushNode } from "../support/tabs/fake-push-node.js";
import { loaded, loadSharing, SharedTab, upTo } from "../support/tabs/shared-tab.js";

/** Two looks at a holder that does not answer, and the longest wait of these clients before an attempt. */
const BACK_WITHIN_MS = 1_500;

const step = fc.oneof(
  {
    arbitrary: fc.record({ do: fc.constant("send" as const), count: fc.integer({ min: 1, max: 4 }) }),
    weight: 8,
  },
  { arbitrary: fc.record({ do: fc.constant("publish" as const) }), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant("open" as const) }), weight: 4 },
  { arbitrary: fc.record({ do: fc.constant("close" as const), tab: fc.nat(9) }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant("crash" as const), tab: fc.nat(9) }), weight: 2 },
  {
    arbitrary: fc.record({
      do: fc.constant("freeze" as const),
      tab: fc.nat(9),
      kind: fc.constantFrom("told" as const, "hung" as const),
    }),
    weight: 3,
  },
  { arbitrary: fc.record({ do: fc.constant("thaw" as const), tab: fc.nat(9) }), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant("hide" as const), tab: fc.nat(9) }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant("show" as const), tab: fc.nat(9) }), weight: 2 },
  {
    arbitrary: fc.record({ do: fc.constant("cut" as const), code: fc.constantFrom(1006, 1012, 1001) }),
    weight: 1,
  },
  { arbitrary: fc.record({ do: fc.constant("move" as const) }), weight: 1 },
  {
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 900 }) }),
    weight: 6,
  },
);

beforeAll(loadSharing);

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

async function run(
  steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
  seed: number,
): Promise<void> {
  let state = seed;
  // Of its own, so that a run can be repeated: the clients' waits and names come from it, too.
  const random = (): number => (state = (state * 48_271 + 11) % 2_147_483_647) / 2_147_483_647;
  vi.spyOn(Math, "random").mockImplementation(random);
  vi.spyOn(crypto, "randomUUID").mockImplementation(() => {
    const part = (): string => String(Math.floor(random() * 1e9));
    return `${part()}-${part()}-${part()}-${part()}-${part()}`;
  });
  const browser = new FakeBrowser(() => Math.floor(random() * 4));
  const node = new FakePushNode();
  const tabs = [new SharedTab(browser, node)];
  await loaded();
  const gone = new Set<SharedTab>();
  const living = (): SharedTab[] => tabs.filter((tab) => !gone.has(tab));
  const closing: Promise<void>[] = [];
  for (const one of steps) {
    const all = living();
    const tab = "tab" in one ? all[one.tab % Math.max(1, all.length)] : undefined;
    switch (one.do) {
      case "send":
        for (let i = 0; i < one.count; i++) node.send();
        break;
      case "publish":
        node.publish();
        break;
      case "open":
        if (all.length < 8) tabs.push(new SharedTab(browser, node));
        await loaded();
        break;
      case "close":
        if (tab === undefined || tab.page.isFrozen) break;
        gone.add(tab);
        closing.push(tab.client.close());
        break;
      case "crash":
        if (tab === undefined) break;
        gone.add(tab);
        tab.page.crash();
        node.send();
        break;
      case "freeze":
        tab?.page.freeze(one.kind);
        break;
      case "thaw":
        tab?.page.thaw();
        break;
      case "hide":
        tab?.page.look("hidden");
        break;
      case "show":
        tab?.page.look("visible");
        break;
      case "cut":
        node.cut(one.code);
        break;
      case "move":
        node.move();
        break;
      case "wait":
        await vi.advanceTimersByTimeAsync(one.ms);
    }
    await vi.advanceTimersByTimeAsync(Math.floor(random() * 3));
  }
  for (const tab of living()) {
    tab.page.thaw();
    tab.page.look("visible");
  }
  await vi.advanceTimersByTimeAsync(BACK_WITHIN_MS);
  expect(living().map((tab) => tab.client.state)).toEqual(living().map(() => "online"));
  await vi.advanceTimersByTimeAsync(4_000 - BACK_WITHIN_MS);
  // A tab that crashed is waited for before a connection ends that the others have left.
  for (let i = 0; i < 10 && node.connections > 1; i++) await vi.advanceTimersByTimeAsync(1_000);
  node.send();
  node.publish();
  await vi.advanceTimersByTimeAsync(1_000);
  await Promise.all(closing);
  for (const tab of living()) {
    expect(tab.seen).toEqual(upTo(tab.after ?? -1, node.seq));
    expect(tab.seenOfRoom).toEqual(upTo(tab.roomAfter ?? -1, node.offset));
  }
  expect(node.offences).toEqual([]);
  expect(node.connections).toBe(living().length === 0 ? 0 : 1);
  if (living().length > 0) expect(node.acked).toBe(node.seq);
  const closed = Promise.all(living().map((tab) => tab.client.close()));
  await vi.advanceTimersByTimeAsync(5_000);
  await closed;
}

/** A challenger that stopped listening to the leader before it had the lock missed a message. */
const lateAnswer: Parameters<typeof run>[0] = [
  { do: "open" },
  { do: "open" },
  { do: "wait", ms: 451 },
  { do: "wait", ms: 452 },
  { do: "hide", tab: 0 },
  { do: "send", count: 2 },
  { do: "show", tab: 5 },
  { do: "send", count: 1 },
  { do: "thaw", tab: 6 },
];

/** A tab that crashed kept a connection open that the others had left. */
const leftBehind: Parameters<typeof run>[0] = [
  { do: "open" },
  { do: "wait", ms: 50 },
  { do: "crash", tab: 1 },
  { do: "open" },
  { do: "wait", ms: 857 },
  { do: "send", count: 3 },
  { do: "move" },
  { do: "wait", ms: 30 },
];

/** A tab that froze while nobody led took its own sockets for closed, and came back only after a long backoff. */
const frozenBeside: Parameters<typeof run>[0] = [
  { do: "wait", ms: 1 },
  { do: "open" },
  { do: "wait", ms: 35 },
  { do: "move" },
  { do: "freeze", tab: 0, kind: "told" },
  { do: "send", count: 3 },
  { do: "publish" },
  { do: "publish" },
  { do: "send", count: 3 },
  { do: "open" },
  { do: "freeze", tab: 4, kind: "told" },
  { do: "publish" },
  { do: "send", count: 3 },
  { do: "wait", ms: 876 },
  { do: "freeze", tab: 4, kind: "told" },
  { do: "crash", tab: 0 },
  { do: "wait", ms: 758 },
];

test("whatever tabs do, each live tab shows each message once, in order, over one connection", async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.nat(1e9), run), {
    numRuns: sized(1_000, 60),
    interruptAfterTimeLimit: 60_000,
    examples: [
      [lateAnswer, 23],
      [leftBehind, 29],
      [frozenBeside, 451_479_386],
    ],
  });
});
