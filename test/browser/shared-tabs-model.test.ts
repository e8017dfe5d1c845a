// Tests tabs that share a connection, in memory: real clients in tabs that open, close, freeze, thaw and crash at random.
// Guarantees: every tab that lives shows each message once and in order; in the end one connection serves them all.
import * as fc from "fast-check";
import { PetrelClient, type PetrelClientOptions, type SharedOptions, type TopicHandle } from "@petrel/client";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { sized } from "../support/sizes.js";
import { FakeBrowser, type FakeTab } from "../support/tabs/fake-browser.js";
import { FakePushNode } from "../support/tabs/fake-push-node.js";

const token = (sub: string): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub, iat: Math.random() })}.signature`;
};

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

interface TabOptions extends Partial<PetrelClientOptions> {
  readonly user?: string;
  readonly shared?: SharedOptions;
}

class Tab {
  readonly seen: number[] = [];
  readonly seenOfRoom: number[] = [];
  readonly errors: string[] = [];
  after: number | undefined;
  roomAfter: number | undefined;
  readonly page: FakeTab;
  readonly client: PetrelClient<number>;
  readonly room: TopicHandle;

  constructor(
    readonly browser: FakeBrowser,
    node: FakePushNode,
    options: TabOptions = {},
  ) {
    this.page = browser.openTab();
    const { user = "alice", shared, ...others } = options;
    this.client = new PetrelClient<number>({
      url: "ws://node.test/v1/connect",
      getToken: () => token(user),
      WebSocket: node.socketFor(this.page),
      ...others,
      shared: { environment: this.page.environment, ...shared },
      timing: { backoffBaseMs: 50, backoffCapMs: 500, ...others.timing },
    });
    this.client.on("error", (error) => this.errors.push(error.message));
    this.client.on("welcome", ({ after }) => (this.after ??= after));
    this.client.on("message", ({ seq }) => this.seen.push(seq));
    this.room = this.client.subscribe<number>("room", {
      onMessage: ({ offset }) => this.seenOfRoom.push(offset),
      onSubscribed: ({ offset, recovered }) => {
        if (!recovered) this.roomAfter ??= offset;
      },
    });
    this.client.connect();
  }
}

/** The first time, a module comes by the real clock, which a loaded machine makes slow. */
beforeAll(async () => {
  await import("../../clients/browser/src/share/share-sockets.js");
});

/** Modules come by the real clock. */
async function loaded(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
}

const upTo = (after: number, last: number): number[] =>
  Array.from({ length: last - after }, (_, i) => after + 1 + i);

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
  const tabs = [new Tab(browser, node)];
  await loaded();
  const gone = new Set<Tab>();
  const living = (): Tab[] => tabs.filter((tab) => !gone.has(tab));
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
        if (all.length < 8) tabs.push(new Tab(browser, node));
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
  await vi.advanceTimersByTimeAsync(4_000);
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

const MOST_TURNS = 20_000;

/** Tabs of one browser, all online. */
async function opened(node: FakePushNode, ...all: readonly TabOptions[]): Promise<Tab[]> {
  const browser = new FakeBrowser(() => 1);
  const tabs: Tab[] = [];
  for (const options of all) {
    const tab = new Tab(browser, node, options);
    tabs.push(tab);
    await loaded();
    await vi.advanceTimersByTimeAsync(100);
    // Digests come by the real clock, too, which a loaded machine makes slow.
    for (let turn = 0; turn < MOST_TURNS && tab.client.state === "connecting"; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      await vi.advanceTimersByTimeAsync(1);
    }
  }
  return tabs;
}

async function closed(tabs: readonly Tab[]): Promise<void> {
  const ends = Promise.all(tabs.map(({ client }) => client.close()));
  await vi.advanceTimersByTimeAsync(5_000);
  await ends;
}

test("two users, two ways to acknowledge, and a token that nobody can read do not share", async () => {
  const node = new FakePushNode();
  const tabs = await opened(
    node,
    {},
    { user: "bob" },
    { ack: "visible" },
    { shared: { ack: "all" } },
    { getToken: () => "opaque" },
    { getToken: () => "opaque" },
    {},
  );
  expect(tabs.map(({ client }) => client.state)).toEqual(tabs.map(() => "online"));
  // The last one shares with the first.
  expect(node.connections).toBe(tabs.length - 1);
  await closed(tabs);
  expect(node.connections).toBe(0);
});

test("where locks are forbidden each tab has a connection of its own", async () => {
  const node = new FakePushNode();
  const { environment } = new FakeBrowser(() => 1).openTab();
  const locks = { ...environment.locks, query: () => Promise.reject(new Error("SecurityError")) };
  const shared = { environment: { ...environment, locks } };
  const tabs = await opened(node, { shared }, { shared });
  expect(node.connections).toBe(2);
  await closed(tabs);
});

test("all: nothing is acknowledged before every tab that listens has handled it, or is silent", async () => {
  const node = new FakePushNode();
  const shared = { ack: "all" } as const;
  const tabs = await opened(node, { shared }, { shared }, { shared, timing: { tabSilentMs: 5_000 } });
  let finish = (): void => undefined;
  tabs[1]?.client.on("message", () => new Promise<void>((resolve) => (finish = resolve)));
  node.send();
  // A handler that takes its time: the tab answers, so it counts.
  await vi.advanceTimersByTimeAsync(8_000);
  expect(node.acked).toBe(0);
  finish();
  await vi.advanceTimersByTimeAsync(500);
  expect(node.acked).toBe(1);
  // A tab that stands still does not hold up the others for long.
  tabs[1]?.client.off("message", () => undefined);
  tabs[2]?.page.freeze("hung");
  node.send();
  await vi.advanceTimersByTimeAsync(200);
  finish();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(node.acked).toBe(1);
  await vi.advanceTimersByTimeAsync(8_000);
  expect(node.acked).toBe(2);
  tabs[2]?.page.thaw();
  await vi.advanceTimersByTimeAsync(100);
  finish();
  await closed(tabs);
});

test("what the server says of a token ends the tab that brought it; what it says of the user, all", async () => {
  const node = new FakePushNode();
  const asked = [0, 0];
  const counting = (i: number) => ({
    getToken: () => {
      asked[i] = (asked[i] ?? 0) + 1;
      return token("alice");
    },
  });
  const tabs = await opened(node, counting(0), counting(1));
  const states = (): string[] => tabs.map(({ client }) => client.state);
  node.refuse(4401, "PETREL_TOKEN_EXPIRED");
  await vi.advanceTimersByTimeAsync(2_000);
  expect([asked, states(), node.connections]).toEqual([[2, 1], ["online", "online"], 1]);
  node.refuse(4403, "PETREL_TOKEN_REVOKED");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(states().toSorted()).toEqual(["closed", "online"]);
  for (const { client } of tabs) client.connect();
  await vi.advanceTimersByTimeAsync(2_000);
  node.refuse(4409, "PETREL_SIGNED_IN_ELSEWHERE");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(states()).toEqual(["closed", "closed"]);
  await closed(tabs);
});

test("a client that is closed before it is connected holds nothing", async () => {
  // Wherever it is on its way: asking for a token, loading, asking who leads.
  for (let turns = 0; turns < 30; turns++) {
    const node = new FakePushNode();
    const browser = new FakeBrowser(() => 1);
    const hasty = new Tab(browser, node);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    const ends = hasty.client.close();
    await loaded();
    await vi.advanceTimersByTimeAsync(3_000);
    await ends;
    expect([turns, browser.heldLocks, node.connections]).toEqual([turns, 0, 0]);
  }
});

test("publishing comes back to the tab that did, whatever numbers two tabs use", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  const published = Promise.all(tabs.map(({ client }) => client.publish("room", "x")));
  await vi.advanceTimersByTimeAsync(500);
  expect((await published).map(({ offset }) => offset).toSorted((one, other) => one - other)).toEqual([1, 2]);
  expect(tabs.map(({ seenOfRoom }) => seenOfRoom)).toEqual([
    [1, 2],
    [1, 2],
  ]);
  await closed(tabs);
});

test("a token that ends is renewed by the tab that brought it; where that fails, by another", async () => {
  const node = new FakePushNode();
  const asked: string[] = [];
  const first = {
    getToken: ({ reason }: { readonly reason: string }) => {
      asked.push(`first ${reason}`);
      if (reason === "expiring") throw new Error("not now");
      return token("alice");
    },
  };
  const second = {
    getToken: ({ reason }: { readonly reason: string }) => {
      asked.push(`second ${reason}`);
      return token("alice");
    },
  };
  const tabs = await opened(node, first, second);
  node.expire(30);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toEqual(["first connect", "second connect", "first expiring"]);
  await vi.advanceTimersByTimeAsync(28_000);
  expect(asked.at(-1)).toBe("second expiring");
  // It counts from now on.
  node.refuse(4401, "PETREL_TOKEN_EXPIRED");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked.slice(4)).toEqual(["second refresh"]);
  await closed(tabs);
});

test("a token in the first frame is shared; tickets are, with a key, and a ticket that ends changes the connection", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, { credentials: "first-frame" }, { credentials: "first-frame" });
  expect([...node.open].map(({ isAuthorised }) => isAuthorised)).toEqual([true]);
  await closed(tabs);

  const withTickets = { getToken: undefined, getTicket: () => "ticket", shared: { key: "alice" } };
  const others = await opened(node, withTickets, withTickets);
  const before = node.connects;
  expect(node.connections).toBe(1);
  const states: string[] = [];
  for (const { client } of others) client.on("state", (state) => states.push(state));
  node.expire(60);
  await vi.advanceTimersByTimeAsync(8_000);
  expect([node.connects - before, node.connections, states]).toEqual([1, 1, []]);
  node.send();
  await vi.advanceTimersByTimeAsync(500);
  expect(others.map(({ seen }) => seen)).toEqual([[1], [1]]);
  await closed(others);
});

test("who takes over starts at once where the slowest tab is", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {}, {});
  const [first, , slow] = tabs;
  let finish = (): void => undefined;
  const off = slow?.client.on("message", () => new Promise<void>((resolve) => (finish = resolve)));
  for (let i = 0; i < 3; i++) node.send();
  await vi.advanceTimersByTimeAsync(500);
  first?.page.crash();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([node.connects, node.connections]).toEqual([2, 1]);
  off?.();
  finish();
  await vi.advanceTimersByTimeAsync(500);
  expect(tabs.slice(1).map(({ seen }) => seen)).toEqual([upTo(0, 3), upTo(0, 3)]);
  await closed(tabs.slice(1));
});

test("a tab that was further behind than anybody gets what it misses, and the others nothing twice", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  for (let i = 0; i < 4; i++) node.send();
  await vi.advanceTimersByTimeAsync(1_000);
  node.cut(1012);
  await vi.advanceTimersByTimeAsync(2_000);
  const browser = tabs[0]?.browser;
  if (browser === undefined) throw new Error("no browser");
  const late = new Tab(browser, node, { position: { epoch: "e1", since: 1 } });
  await loaded();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(late.seen).toEqual([2, 3, 4]);
  expect(tabs.map(({ seen }) => seen)).toEqual([upTo(0, 4), upTo(0, 4)]);
  expect(node.connections).toBe(1);
  await closed([...tabs, late]);
});

test("a tab that comes in the moment in which the last one leaves is not taken along", async () => {
  for (let ms = 0; ms < 8; ms++) {
    const node = new FakePushNode();
    const [first] = await opened(node, {});
    if (first === undefined) throw new Error("no tab");
    const second = new Tab(first.browser, node);
    await loaded();
    await vi.advanceTimersByTimeAsync(ms);
    const leaves = first.client.close();
    await vi.advanceTimersByTimeAsync(2_000);
    await leaves;
    expect([ms, second.client.state, node.connections]).toEqual([ms, "online", 1]);
    await closed([second]);
  }
});

test("a leader that stood still and thaws acknowledges nothing more, and follows", async () => {
  const node = new FakePushNode();
  const options = { ack: "manual", timing: { ackDelayMs: 0 } } as const;
  const tabs = await opened(node, options, options);
  const [first, second] = tabs;
  node.send();
  await vi.advanceTimersByTimeAsync(50);
  // (Its timers would go on in this test, and tell it that it lives.)
  first?.page.look("hidden");
  first?.page.freeze("hung");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(node.connects).toBe(2);
  const states = new Set<string>();
  first?.client.on("state", (state) => states.add(state));
  first?.page.thaw();
  // Before it hears that it was deposed, over the connection that it still has.
  first?.client.ack({ epoch: "e1", seq: 1 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(node.ackedOn).not.toContain(1);
  expect([first?.client.state, second?.client.state, node.connections]).toEqual(["online", "online", 1]);
  // The application notices nothing.
  expect([...states]).toEqual([]);
  await closed(tabs);
});

test("a tab that has crashed does not keep a connection open that the others have left", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {}, {});
  const [first, crashed, other] = tabs;
  crashed?.page.crash();
  node.move();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([node.connects, node.connections]).toEqual([2, 2]);
  await vi.advanceTimersByTimeAsync(6_000);
  expect([node.connects, node.connections]).toEqual([2, 1]);
  expect([first?.client.state, other?.client.state]).toEqual(["online", "online"]);
  await closed(tabs.filter((tab) => tab !== crashed));
});

test("a tab that lives keeps the connection that it is on until it has moved, whatever that takes", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  const [, second] = tabs;
  const states = new Set<string>();
  second?.client.on("state", (state) => states.add(state));
  for (const socket of node.open)
    socket.say({ type: "reconnect", afterMs: 30_000, reason: "PETREL_SHUTTING_DOWN" });
  await vi.advanceTimersByTimeAsync(29_000);
  node.send();
  await vi.advanceTimersByTimeAsync(500);
  expect([node.connects, tabs.map(({ seen }) => seen)]).toEqual([1, [[1], [1]]]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect([node.connects, node.connections, [...states]]).toEqual([2, 1, []]);
  await closed(tabs);
});

test("a tab that stood still while the others moved follows when it goes on, and misses nothing", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  const [, still] = tabs;
  still?.page.look("hidden");
  still?.page.freeze("hung");
  node.send();
  node.move();
  await vi.advanceTimersByTimeAsync(7_000);
  node.send();
  expect(node.connections).toBe(1);
  still?.page.thaw();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(tabs.map(({ seen }) => seen)).toEqual([
    [1, 2],
    [1, 2],
  ]);
  expect([still?.client.state, node.connections]).toEqual(["online", 1]);
  await closed(tabs);
});

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

test("whatever tabs do, each that lives shows each message once, in order, over one connection", async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.nat(1e9), run), {
    numRuns: sized(1_000, 60),
    // Still open, met by the full suite only: with seed 98466604 and path "51:4:11:13:7:11:11:11:12:14" a tab that thaws
    // is online only after 5 to 15 s.
    interruptAfterTimeLimit: 60_000,
    examples: [
      [lateAnswer, 23],
      [leftBehind, 29],
    ],
  });
});
