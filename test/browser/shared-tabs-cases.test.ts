// Tests tabs that share a connection, in memory: who takes over, who is waited for, where a tab goes on.
// Guarantees: a takeover loses nothing and shows nothing twice; whoever is gone holds up nobody.
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { FakeBrowser } from "../support/tabs/fake-browser.js";
import { FakePushNode } from "../support/tabs/fake-push-node.js";
import { closed, loaded, loadSharing, opened, SharedTab, upTo } from "../support/tabs/shared-tab.js";

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

test("without locks each tab has its own connection", async () => {
  const node = new FakePushNode();
  const { environment } = new FakeBrowser(() => 1).openTab();
  const locks = { ...environment.locks, query: () => Promise.reject(new Error("SecurityError")) };
  const shared = { environment: { ...environment, locks } };
  const tabs = await opened(node, { shared }, { shared });
  expect(node.connections).toBe(2);
  await closed(tabs);
});

test("all: nothing is acknowledged before every listening tab has handled it, or is silent", async () => {
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

test("a publish is answered to its own tab, whatever numbers two tabs use", async () => {
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

test("a new leader starts at once at the slowest tab's position", async () => {
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

test("a tab that was furthest behind gets what it misses, and the others nothing twice", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  for (let i = 0; i < 4; i++) node.send();
  await vi.advanceTimersByTimeAsync(1_000);
  node.cut(1012);
  await vi.advanceTimersByTimeAsync(2_000);
  const browser = tabs[0]?.browser;
  if (browser === undefined) throw new Error("no browser");
  const late = new SharedTab(browser, node, { position: { epoch: "e1", since: 1 } });
  await loaded();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(late.seen).toEqual([2, 3, 4]);
  expect(tabs.map(({ seen }) => seen)).toEqual([upTo(0, 4), upTo(0, 4)]);
  expect(node.connections).toBe(1);
  await closed([...tabs, late]);
});

test("a tab that opens as the last one closes is not closed with it", async () => {
  for (let ms = 0; ms < 8; ms++) {
    const node = new FakePushNode();
    const [first] = await opened(node, {});
    if (first === undefined) throw new Error("no tab");
    const second = new SharedTab(first.browser, node);
    await loaded();
    await vi.advanceTimersByTimeAsync(ms);
    const leaves = first.client.close();
    await vi.advanceTimersByTimeAsync(2_000);
    await leaves;
    expect([ms, second.client.state, node.connections]).toEqual([ms, "online", 1]);
    await closed([second]);
  }
});

test("a suspended leader that thaws acknowledges nothing more, and follows", async () => {
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

test("a crashed tab does not keep a connection open that the others have left", async () => {
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

test("a live tab keeps its current connection until it has moved, however long that takes", async () => {
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

test("a tab that was suspended while the others moved follows when it resumes, and misses nothing", async () => {
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

test("a hidden tab that thaws beside a hanging holder reports offline until somebody answers", async () => {
  const node = new FakePushNode();
  const tabs = await opened(node, {}, {});
  const [holder, thawed] = tabs;
  for (const tab of tabs) tab.page.look("hidden");
  thawed?.page.freeze("told");
  await vi.advanceTimersByTimeAsync(1_000);
  holder?.page.freeze("hung");
  thawed?.page.thaw();
  await vi.advanceTimersByTimeAsync(4_000);
  // The holder may only be busy.
  expect(thawed?.client.state).toBe("online");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(thawed?.client.state).not.toBe("online");
  holder?.page.thaw();
  await vi.advanceTimersByTimeAsync(1_000);
  node.send();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(tabs.map(({ client }) => client.state)).toEqual(["online", "online"]);
  expect([tabs.map(({ seen }) => seen), node.connections]).toEqual([[[1], [1]], 1]);
  await closed(tabs);
});
