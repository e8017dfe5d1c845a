// Tests tabs that share a connection, in memory: who shares with whom, and what becomes of their tokens.
// Guarantees: no tab gets what is another user's; a verdict about a token ends the tab that brought it.
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { FakeBrowser } from "../support/tabs/fake-browser.js";
import { FakePushNode } from "../support/tabs/fake-push-node.js";
import { closed, loaded, loadSharing, opened, SharedTab, token } from "../support/tabs/shared-tab.js";

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

test("two users, two ack policies, and an unreadable token do not share", async () => {
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

test("a server's verdict about a token ends the tab that brought it; one about the user, all tabs", async () => {
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
    const hasty = new SharedTab(browser, node);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    const ends = hasty.client.close();
    await loaded();
    await vi.advanceTimersByTimeAsync(3_000);
    await ends;
    expect([turns, browser.heldLocks, node.connections]).toEqual([turns, 0, 0]);
  }
});

test("an expiring token is renewed by the tab that brought it; if that fails, by another", async () => {
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

test("a token in the first frame is shared; tickets are, with a key, and an expiring ticket changes the connection", async () => {
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

test.each([
  ["shared a connection before", false],
  ["had one of its own before", true],
])("a sign-in as another user, who %s, continues where that user's tabs are", async (_name, isAlone) => {
  const [alices, bobs] = [new FakePushNode("a1"), new FakePushNode("b1")];
  const [other] = await opened(bobs, { user: "bob" });
  if (other === undefined) throw new Error("no tab");
  let [user, node] = ["alice", alices];
  const socketFor: FakePushNode["socketFor"] = (tab) => {
    const sockets = (url: string, protocols: string[]) => new (node.socketFor(tab))(url, protocols);
    const Switched = function (url: string, protocols: string[]) {
      return sockets(url, protocols);
    };
    return Switched as unknown as ReturnType<FakePushNode["socketFor"]>;
  };
  const getToken = () => token(user);
  // The part that shares cannot be had at first, as when it cannot be loaded.
  const { environment } = other.browser.openTab();
  let fails = isAlone;
  const query = () => (fails ? Promise.reject(new Error("not now")) : environment.locks.query());
  const shared = { environment: { ...environment, locks: { ...environment.locks, query } } };
  const switched = new SharedTab(other.browser, { socketFor }, { getToken, shared });
  await loaded();
  for (let i = 0; i < 9; i++) alices.send();
  for (let i = 0; i < 3; i++) bobs.send();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([switched.seen.length, bobs.acked]).toEqual([9, 3]);

  const leaves = switched.client.close();
  await vi.advanceTimersByTimeAsync(3_000);
  await leaves;
  switched.seen.length = 0;
  fails = false;
  [user, node] = ["bob", bobs];
  switched.client.connect();
  await vi.advanceTimersByTimeAsync(1_000);
  // The other tab has acknowledged what there is.
  expect([switched.client.state, switched.seen, bobs.connects]).toEqual(["online", [], 1]);
  bobs.send();
  await vi.advanceTimersByTimeAsync(500);
  expect([switched.seen, other.seen]).toEqual([[4], [1, 2, 3, 4]]);

  // And whoever leads next does not ask for what the former user had.
  bobs.cut(1012);
  await vi.advanceTimersByTimeAsync(2_000);
  bobs.send();
  await vi.advanceTimersByTimeAsync(500);
  expect([bobs.connects, alices.connections, switched.seen, other.seen]).toEqual([
    2,
    0,
    [4, 5],
    [1, 2, 3, 4, 5],
  ]);
  await closed([switched, other]);
});

test("a user who signs in again with other rights continues from the position", async () => {
  const node = new FakePushNode();
  let rights = {};
  const [tab] = await opened(node, { ack: "manual", getToken: () => token("alice", rights) });
  if (tab === undefined) throw new Error("no tab");
  for (let i = 0; i < 3; i++) node.send();
  await vi.advanceTimersByTimeAsync(500);
  tab.client.ack({ epoch: "e1", seq: 2 });
  await vi.advanceTimersByTimeAsync(500);
  await Promise.all([tab.client.close(), vi.advanceTimersByTimeAsync(3_000)]);
  rights = { topics: ["other"] };
  const welcomes: boolean[] = [];
  tab.client.on("welcome", ({ resumed }) => welcomes.push(resumed));
  tab.client.connect();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(welcomes).toEqual([true]);
  await closed([tab]);
});

test("a fresh token with other rights moves its tab to a connection of its own, without a gap", async () => {
  const node = new FakePushNode();
  const changed = ({ reason }: { readonly reason: string }) =>
    token("alice", reason === "expiring" ? { topics: ["more"] } : {});
  const tabs = await opened(node, { getToken: changed }, {});
  const states: string[] = [];
  for (const { client } of tabs) client.on("state", (state) => states.push(state));
  node.expire(30);
  await vi.advanceTimersByTimeAsync(2_000);
  node.send();
  await vi.advanceTimersByTimeAsync(500);
  // The other tab's connection never had the new rights.
  expect([node.connections, node.renewals, states]).toEqual([2, 0, []]);
  expect(tabs[0]?.browser.heldLocks).toBe(2);
  expect(tabs.map(({ seen }) => seen)).toEqual([[1], [1]]);
  await closed(tabs);
});

test("the last tab of a group leaves nothing behind when it moves to another one", async () => {
  const node = new FakePushNode();
  const [tab] = await opened(node, {
    getToken: ({ reason }) => token("alice", reason === "expiring" ? { topics: ["more"] } : {}),
  });
  if (tab === undefined) throw new Error("no tab");
  node.expire(30);
  await vi.advanceTimersByTimeAsync(5_000);
  expect([node.connects, node.connections, tab.browser.heldLocks]).toEqual([2, 1, 1]);
  await closed([tab]);
});

test("claims that differ per token keep no tabs apart, and a renewal changes no connection", async () => {
  const node = new FakePushNode();
  let tokens = 0;
  const getToken = () => {
    tokens++;
    return token("alice", {
      iss: "entra",
      uti: `u${tokens}`,
      auth_time: tokens,
      jti: `j${tokens}`,
      nonce: "n",
    });
  };
  const tabs = await opened(node, { getToken }, { getToken });
  node.expire(30);
  await vi.advanceTimersByTimeAsync(5_000);
  expect([node.connects, node.renewals, tokens]).toEqual([1, 1, 3]);
  await closed(tabs);
});

test("a fresh token of another user ends the tab that brought it, not the one whose token counted", async () => {
  const node = new FakePushNode();
  const fails = ({ reason }: { readonly reason: string }) => {
    if (reason === "expiring") throw new Error("not now");
    return token("alice");
  };
  const changed = ({ reason }: { readonly reason: string }) => token(reason === "expiring" ? "bob" : "alice");
  const tabs = await opened(node, { getToken: fails }, { getToken: changed });
  node.refusesTokens = true;
  node.expire(30);
  await vi.advanceTimersByTimeAsync(25_000);
  expect(tabs.map(({ client }) => client.state)).toEqual(["online", "closed"]);
  expect(node.connections).toBe(1);
  await closed(tabs);
});
