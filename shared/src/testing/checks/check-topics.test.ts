// Tests the checker of topics. A checker that cannot fail proves nothing, so each kind of violation is shown to be found.
import { expect, test } from "vitest";
import type { PostRecord, StateRecord } from "../peers/message-recorder.js";
import type { TopicEvent, TopicHistory, TopicPosition } from "../peers/topic-recorder.js";
import { checkTopics } from "./check-topics.js";

const on = { id: "c1", client: "alice", user: "alice", node: "n1" };
const again = { id: "c2", client: "alice", user: "alice", node: "n2" };
const bob = { id: "c3", client: "bob", user: "bob", node: "n1" };

function subscribed(
  offset: number,
  { at = on, recovered = false, given }: { at?: typeof on; recovered?: boolean; given?: TopicPosition } = {},
): TopicEvent {
  return {
    kind: "subscribed",
    connection: at,
    topic: "t",
    epoch: "e.0",
    offset,
    oldest: 1,
    recovered,
    given,
  };
}

const message = (offset: number, at = on, id = `m${offset}`): TopicEvent => ({
  kind: "message",
  connection: at,
  topic: "t",
  offset,
  id,
});

const handled = (offset: number, client = "alice", id = `m${offset}`) => ({
  client,
  topic: "t",
  offset,
  id,
  n: offset,
});

function post(n: number, fields: Partial<PostRecord> = {}): PostRecord {
  return {
    n,
    user: "#t",
    data: "{}",
    mayFallBack: false,
    mayExpire: false,
    insists: true,
    startedAtMs: n * 10,
    outcome: "accepted",
    answeredAtMs: n * 10 + 5,
    id: `m${n}`,
    attempts: 1,
    problem: undefined,
    ...fields,
  };
}

const stored = (n: number, offset = n): StateRecord => ({
  id: `m${n}`,
  state: "published",
  seq: offset,
  epoch: "e.0",
});

/** Messages 1 to 4 are published; alice loses her socket after 2 and comes back. */
const good: TopicHistory = {
  events: [
    subscribed(0),
    message(1),
    message(2),
    subscribed(3, { at: again, recovered: true, given: { epoch: "e.0", offset: 2 } }),
    message(3, again),
    message(4, again),
    subscribed(2, { at: bob }),
    message(3, bob),
    message(4, bob),
  ],
  handled: [1, 2, 3, 4].map((n) => handled(n)).concat([3, 4].map((n) => handled(n, "bob"))),
  holes: [],
};
const posts = [1, 2, 3, 4].map((n) => post(n));
const states = [1, 2, 3, 4].map((n) => stored(n));

function kindsOf(
  history: Partial<TopicHistory>,
  accepted = posts,
  read = states,
  erased: readonly string[] = [],
): string[] {
  const stateOf = new Map(read.map((state) => [state.id, state]));
  return checkTopics({ ...good, ...history }, { accepted, stateOf, erased: new Set(erased) }).map(
    ({ kind }) => kind,
  );
}

const events = (...changes: TopicEvent[]) => ({ events: changes, handled: [] as never[] });

test("a good history has no violation", () => {
  expect(kindsOf({})).toEqual([]);
});

test("a message before its subscription, or after its end", () => {
  expect(kindsOf(events(message(1)), [])).toEqual(["topic-unannounced"]);
  const ended: TopicEvent = { kind: "unsubscribed", connection: on, topic: "t" };
  expect(kindsOf(events(subscribed(0), ended, message(1)), [])).toEqual(["topic-unannounced"]);
});

test("a skipped or repeated number", () => {
  expect(kindsOf(events(subscribed(0), message(2)), [])).toEqual(["topic-skipped"]);
  expect(kindsOf(events(subscribed(0), message(1), message(1)), [])).toEqual(["topic-not-rising"]);
  const recovered = subscribed(3, { recovered: true, given: { epoch: "e.0", offset: 1 } });
  expect(kindsOf(events(recovered, message(3)), [])).toEqual(["topic-skipped"]);
});

test("an unrequested `subscribed` that recovers continues where the connection was", () => {
  const unasked = subscribed(4, { recovered: true });
  expect(kindsOf(events(subscribed(0), message(1), unasked, message(2)), [])).toEqual([]);
  expect(kindsOf(events(subscribed(0), message(1), unasked, message(5)), [])).toEqual(["topic-skipped"]);
  expect(
    kindsOf(events(subscribed(0), message(1), message(2), subscribed(1, { recovered: true })), []),
  ).toEqual(["topic-turned-back"]);
  expect(kindsOf(events(unasked), [])).toEqual(["topic-recovered-wrongly"]);
});

test("an unrequested `subscribed` that reports a hole starts over", () => {
  expect(kindsOf(events(subscribed(0), message(1), subscribed(4), message(5)), [])).toEqual([]);
});

test("two subscribers see two orders", () => {
  const first = [subscribed(0), message(1)];
  expect(kindsOf(events(...first, subscribed(0, { at: bob }), message(1, bob, "other")), [])).toEqual([
    "topic-two-orders",
  ]);
  expect(kindsOf(events(...first, subscribed(1, { at: bob }), message(2, bob, "m1")), [])).toEqual([
    "topic-two-orders",
  ]);
});

test("a message sent later precedes one that was answered", () => {
  expect(kindsOf(events(), posts.slice(0, 2), [stored(1, 2), stored(2, 1)])).toEqual(["topic-out-of-order"]);
});

test("an application gets a message twice, or one before another", () => {
  expect(kindsOf({ handled: [...good.handled, handled(4)] })).toEqual(["topic-handled-twice"]);
  const swapped = [1, 2, 4, 3].map((n) => handled(n)).concat([3, 4].map((n) => handled(n, "bob")));
  expect(kindsOf({ handled: swapped })).toEqual(["topic-not-rising"]);
});

test("an application may miss a message only if told, or if its user was erased", () => {
  const missing = {
    handled: good.handled.filter(({ client, offset }) => client !== "alice" || offset !== 3),
  };
  expect(kindsOf(missing)).toEqual(["topic-hole-untold"]);
  expect(kindsOf({ ...missing, holes: [{ client: "alice", topic: "t" }] })).toEqual([]);
  expect(kindsOf(missing, posts, states, ["alice"])).toEqual([]);
});

test("an application does not get what was published before it subscribed", () => {
  const late = { events: good.events.slice(6), handled: [3, 4].map((n) => handled(n, "bob")) };
  expect(kindsOf(late)).toEqual([]);
});
