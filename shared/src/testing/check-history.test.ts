// Tests of the checker: a checker that cannot fail proves nothing, so each kind of violation is shown to be found.
import { expect, test } from "vitest";
import { checkHistory } from "./check-history.js";
import type {
  AckRecord,
  ConnectionRecord,
  FallbackRecord,
  FaultRecord,
  HandledRecord,
  History,
  PostRecord,
  StateRecord,
  WireRecord,
} from "./message-recorder.js";
import type { ViolationKind } from "./violation.js";

const USER = "alice";

function post(n: number, fields: Partial<PostRecord> = {}): PostRecord {
  return {
    n,
    user: USER,
    data: JSON.stringify({ n }),
    mayFallBack: true,
    mayExpire: false,
    startedAtMs: n * 10,
    outcome: "accepted",
    answeredAtMs: n * 10 + 5,
    id: `m${n}`,
    attempts: 1,
    problem: undefined,
    ...fields,
  };
}

const unknown = { outcome: "unknown", id: undefined, answeredAtMs: Number.POSITIVE_INFINITY } as const;

function connection(id = "c1", fields: Partial<ConnectionRecord> = {}): ConnectionRecord {
  const where = { client: USER, user: USER, node: "n1", epoch: "l.1", after: 0, resumed: false };
  return { id, ...where, atMs: 0, closed: undefined, ...fields };
}

function frame(n: number, on: ConnectionRecord, fields: Partial<WireRecord> = {}): WireRecord {
  return { connection: on, seq: n + 1, id: `m${n}`, atMs: n * 10 + 6, ...fields };
}

function handling(n: number, fields: Partial<HandledRecord> = {}): HandledRecord {
  const message = { id: `m${n}`, n, data: JSON.stringify({ n }), seq: n + 1 };
  return { client: USER, user: USER, epoch: "l.1", ...message, atMs: n * 10 + 7, ...fields };
}

function state(n: number, fields: Partial<StateRecord> = {}): StateRecord {
  return { id: `m${n}`, state: "delivered", seq: n + 1, epoch: "l.1", ...fields };
}

function call(n: number, fields: Partial<FallbackRecord> = {}): FallbackRecord {
  return { id: `m${n}`, user: USER, n, atMs: n * 10 + 100, ...fields };
}

const ack = (seq: number, on: ConnectionRecord, atMs = 1_000): AckRecord => ({ connection: on, seq, atMs });

const fault = (target: string, atMs: number, endedAtMs = atMs): FaultRecord => ({
  kind: "kill",
  target,
  atMs,
  endedAtMs,
});

const on = connection();

/** Three messages, delivered as they should be. */
function goodHistory(): History {
  const numbers = [0, 1, 2];
  return {
    posts: numbers.map((n) => post(n)),
    connections: [on],
    wire: numbers.map((n) => frame(n, on)),
    handled: numbers.map((n) => handling(n)),
    acks: [ack(3, on)],
    fallbacks: [],
    states: numbers.map((n) => state(n)),
    faults: [],
  };
}

function kindsOf(changes: Partial<History>): ViolationKind[] {
  return checkHistory({ ...goodHistory(), ...changes }).violations.map(({ kind }) => kind);
}

const replaced = <T>(values: readonly T[], index: number, value: T): T[] => values.with(index, value);

test("a good history has no violation, and is counted", () => {
  const { violations, counts } = checkHistory(goodHistory());
  expect(violations).toEqual([]);
  expect(counts).toMatchObject({
    posted: 3,
    accepted: 3,
    unknown: 0,
    states: { delivered: 3 },
    onWire: 3,
    wireDuplicates: 0,
    handled: 3,
    fallbacks: 0,
    faults: 0,
  });
});

test.each([
  ["still queued", [state(0), state(1), state(2, { state: "queued" })]],
  ["unknown to the service", [state(0), state(1), state(2, { state: "missing" })]],
  ["never asked about", [state(0), state(1)]],
])("lost: %s", (_why, states) => {
  expect(kindsOf({ states })).toEqual(["lost"]);
});

test("an end without its evidence", () => {
  const { handled, states } = goodHistory();
  expect(kindsOf({ handled: handled.slice(0, 2) })).toEqual(["delivered-unseen"]);
  const pushed = { states: replaced(states, 2, state(2, { state: "pushed" })), handled: handled.slice(0, 2) };
  expect(kindsOf(pushed)).toEqual(["pushed-unsent"]);
  const calledToo = { ...pushed, fallbacks: [call(2)] };
  expect(kindsOf(calledToo)).toEqual([]);
  expect(kindsOf({ ...calledToo, handled })).toEqual(["handled-undelivered"]);
  const expired = replaced(states, 2, state(2, { state: "expired" }));
  expect(kindsOf({ states: expired })).toEqual(["expired-early"]);
});

test("pushed by a channel that was called, expired where it may: ends like others", () => {
  const { posts, handled, states, wire } = goodHistory();
  expect(
    kindsOf({
      posts: replaced(posts, 1, post(1, { mayExpire: true })),
      states: [state(0), state(1, { state: "expired" }), state(2, { state: "pushed" })],
      fallbacks: [call(2)],
      handled: handled.slice(0, 1),
      wire: wire.slice(0, 1),
      acks: [ack(1, on)],
    }),
  ).toEqual([]);
  expect(states).toHaveLength(3);
});

test("twice to an application, also under another id", () => {
  const { handled } = goodHistory();
  expect(kindsOf({ handled: [...handled, handling(1)] })).toEqual(["handled-twice"]);
  expect(kindsOf({ posts: [post(0, unknown), post(1), post(2)], states: [state(1), state(2)] })).toEqual([]);
  expect(
    kindsOf({
      posts: [post(0, unknown), post(1), post(2)],
      states: [state(1), state(2)],
      handled: [...handled, handling(0, { id: "another" })],
    }),
  ).toEqual(["handled-twice"]);
});

test("out of order: only where the earlier one's answer came before the later one was sent", () => {
  const { posts } = goodHistory();
  const swapped = [handling(1), handling(0), handling(2)];
  expect(kindsOf({ handled: swapped })).toEqual(["handled-out-of-order"]);
  // Nobody knows when one without an answer was stored; one whose answer came later, neither.
  const late = post(0, { answeredAtMs: 15 });
  expect(kindsOf({ handled: swapped, posts: replaced(posts, 0, late) })).toEqual([]);
  const none = { posts: replaced(posts, 0, post(0, unknown)), states: [state(1), state(2)] };
  expect(kindsOf({ handled: swapped, ...none })).toEqual([]);
  // But it was sent after those that were answered before.
  const last = { posts: replaced(posts, 2, post(2, unknown)), states: [state(0), state(1)] };
  expect(kindsOf({ handled: [handling(2), handling(0), handling(1)], ...last })).toEqual([
    "handled-out-of-order",
    "handled-out-of-order",
  ]);
});

test("not what was sent: to somebody else, with other data, under another id, by nobody, refused", () => {
  const { handled, posts, states } = goodHistory();
  for (const wrong of [{ user: "bob" }, { data: '{"n":1,"x":1}' }, { id: "other" }]) {
    expect(kindsOf({ handled: replaced(handled, 1, handling(1, wrong)) })).toEqual(["handled-wrong"]);
  }
  expect(kindsOf({ handled: [...handled, handling(9)] })).toEqual(["never-sent"]);
  expect(kindsOf({ handled: [...handled, handling(9, { n: undefined })] })).toEqual(["never-sent"]);
  const refused = post(2, { outcome: "refused", id: undefined });
  expect(kindsOf({ posts: replaced(posts, 2, refused), states: states.slice(0, 2) })).toEqual(["never-sent"]);
});

test("a connection's seq: rises, and skips nothing but what has ended", () => {
  const { wire, states, posts, handled } = goodHistory();
  const again = frame(1, on, { atMs: 40 });
  expect(kindsOf({ wire: [...wire, again], faults: [fault("push-node-1", 30)] })).toEqual(["seq-not-rising"]);
  const holed = [frame(0, on), frame(2, on)];
  expect(kindsOf({ wire: holed })).toEqual(["seq-skipped"]);
  const first = [frame(1, on), frame(2, on)];
  expect(kindsOf({ wire: first })).toEqual(["seq-skipped"]);
  expect(
    kindsOf({
      wire: holed,
      handled: [handling(0), handling(2)],
      posts: replaced(posts, 1, post(1, { mayExpire: true })),
      states: replaced(states, 1, state(1, { state: "expired" })),
    }),
  ).toEqual([]);
  expect(handled).toHaveLength(3);
});

test("a connection that resumes begins after its position", () => {
  const { wire } = goodHistory();
  const second = connection("c2", { after: 2 });
  expect(
    kindsOf({ wire: [...wire.slice(0, 2), frame(2, second)], acks: [ack(2, on), ack(3, second)] }),
  ).toEqual([]);
  const early = connection("c2", { after: 1 });
  const behind = { wire: [...wire.slice(0, 2), frame(2, early)], acks: [ack(2, on), ack(3, early)] };
  expect(kindsOf(behind)).toEqual(["seq-skipped"]);
});

test("duplicates on the wire: counted, and wrong before the first fault", () => {
  const { wire } = goodHistory();
  const second = connection("c2", { after: 1 });
  const again = [...wire, frame(1, second, { atMs: 50 }), frame(2, second, { atMs: 51 })];
  expect(kindsOf({ wire: again })).toEqual(["wire-duplicate-without-fault", "wire-duplicate-without-fault"]);
  expect(kindsOf({ wire: again, faults: [fault("push-node-1", 60)] })).toHaveLength(2);
  const { violations, counts } = checkHistory({
    ...goodHistory(),
    wire: again,
    faults: [fault("push-node-1", 40)],
  });
  expect([violations, counts.wireDuplicates]).toEqual([[], 2]);
});

test("an ack of what was not sent, or not yet", () => {
  expect(kindsOf({ acks: [ack(4, on)] })).toEqual(["ack-beyond-sent"]);
  expect(kindsOf({ acks: [ack(3, on, 20)] })).toEqual(["ack-beyond-sent"]);
});

test("two messages under one number", () => {
  const { states } = goodHistory();
  expect(kindsOf({ states: replaced(states, 1, state(1, { seq: 1 })) })).toEqual(["seq-reused"]);
  expect(kindsOf({ states: replaced(states, 1, state(1, { seq: 1, epoch: "l.2" })) })).toEqual([]);
});

test("a fallback twice: unless a dispatcher or Redis failed in between", () => {
  const twice = [call(1, { atMs: 200 }), call(1, { atMs: 300 })];
  const kinds = (...faults: FaultRecord[]): ViolationKind[] => kindsOf({ fallbacks: twice, faults });
  expect(kinds()).toEqual(["fallback-twice"]);
  expect(kinds(fault("push-node-1", 250))).toEqual(["fallback-twice"]);
  expect(kinds(fault("dispatch-1", 100, 150), fault("dispatch-1", 310))).toEqual(["fallback-twice"]);
  expect(kinds(fault("dispatch-1", 250))).toEqual([]);
  expect(kinds(fault("dispatch-2", 190, 210))).toEqual([]);
  expect(kinds(fault("redis", 250))).toEqual([]);
  expect(checkHistory({ ...goodHistory(), fallbacks: twice }).counts.fallbackRepeats).toBe(1);
});

test("a fallback that nobody asked for", () => {
  const { posts } = goodHistory();
  expect(kindsOf({ fallbacks: [call(1)] })).toEqual([]);
  const never = replaced(posts, 1, post(1, { mayFallBack: false }));
  expect(kindsOf({ fallbacks: [call(1)], posts: never })).toEqual(["fallback-unasked"]);
  expect(kindsOf({ fallbacks: [call(1, { user: "bob" })] })).toEqual(["fallback-unasked"]);
  expect(kindsOf({ fallbacks: [call(9)] })).toEqual(["fallback-unasked"]);
});

test("one without an answer may arrive or not", () => {
  const { wire, handled, states } = goodHistory();
  const posts = [post(0), post(1), post(2, unknown)];
  const arrived = checkHistory({ ...goodHistory(), posts, states: states.slice(0, 2) });
  expect([arrived.violations, arrived.counts.unknownArrived]).toEqual([[], 1]);
  const absent = {
    posts,
    states: states.slice(0, 2),
    wire: wire.slice(0, 2),
    handled: handled.slice(0, 2),
    acks: [ack(2, on)],
  };
  expect(kindsOf(absent)).toEqual([]);
});
