// Tests the checker. A checker that cannot fail proves nothing, so each kind of violation is shown to be found.
import { expect, test } from "vitest";
import type { AttemptRecord, ConnectionRecord, FaultRecord, History } from "../peers/message-recorder.js";
import { checkHistory } from "./check-history.js";
import {
  ack,
  attempt,
  call,
  connection,
  fault,
  frame,
  goodHistory,
  handling,
  kindsOf,
  on,
  post,
  replaced,
  state,
  unknown,
} from "./good-history.js";
import type { ViolationKind } from "./violation.js";

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

test("pushed by a channel that was called, expired if it may: end like others", () => {
  const { posts, handled, states } = goodHistory();
  const gone = connection("c1", { closed: { code: 1006, atMs: 9 } });
  const history = {
    connections: [gone],
    posts: replaced(posts, 1, post(1, { mayExpire: true })),
    states: [state(0), state(1, { state: "expired" }), state(2, { state: "pushed" })],
    fallbacks: [call(2)],
    handled: handled.slice(0, 1),
    wire: [frame(0, gone)],
    acks: [ack(1, gone)],
  };
  expect(kindsOf(history)).toEqual([]);
  // A connected user must still be shown it.
  expect(kindsOf({ ...history, connections: [on], wire: [frame(0, on)], acks: [] })).toEqual(["hole-untold"]);
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

test("out of order: only if the earlier one's answer came before the later one was sent", () => {
  const { posts } = goodHistory();
  const swapped = [handling(1), handling(0), handling(2)];
  expect(kindsOf({ handled: swapped })).toEqual(["handled-out-of-order"]);
  // Without an answer, or with a later one, nobody knows when it was stored.
  const late = post(0, { answeredAtMs: 15 });
  expect(kindsOf({ handled: swapped, posts: replaced(posts, 0, late) })).toEqual([]);
  const none = { posts: replaced(posts, 0, post(0, unknown)), states: [state(1), state(2)] };
  expect(kindsOf({ handled: swapped, ...none })).toEqual([]);
  // But it was sent after earlier ones were answered.
  const last = { posts: replaced(posts, 2, post(2, unknown)), states: [state(0), state(1)] };
  expect(kindsOf({ handled: [handling(2), handling(0), handling(1)], ...last })).toEqual([
    "handled-out-of-order",
    "handled-out-of-order",
  ]);
});

test("not what was sent: to another user, with other data, under another id, by nobody, refused", () => {
  const { handled, posts, states } = goodHistory();
  for (const wrong of [{ user: "bob" }, { data: '{"n":1,"x":1}' }, { id: "other" }]) {
    expect(kindsOf({ handled: replaced(handled, 1, handling(1, wrong)) })).toEqual(["handled-wrong"]);
  }
  expect(kindsOf({ handled: [...handled, handling(9)] })).toEqual(["never-sent"]);
  expect(kindsOf({ handled: [...handled, handling(9, { n: undefined })] })).toEqual(["never-sent"]);
  const refused = post(2, { outcome: "refused", id: undefined });
  expect(kindsOf({ posts: replaced(posts, 2, refused), states: states.slice(0, 2) })).toEqual(["never-sent"]);
});

test("a connection's seq rises, and skips only ended messages", () => {
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

test("a resuming connection begins after its position", () => {
  const { wire } = goodHistory();
  const second = connection("c2", { after: 2 });
  expect(
    kindsOf({
      connections: [on, second],
      wire: [...wire.slice(0, 2), frame(2, second)],
      acks: [ack(2, on), ack(3, second)],
    }),
  ).toEqual([]);
  const early = connection("c2", { after: 1 });
  const behind = {
    connections: [on, early],
    wire: [...wire.slice(0, 2), frame(2, early)],
    acks: [ack(2, on), ack(3, early)],
  };
  expect(kindsOf(behind)).toEqual(["seq-skipped"]);
});

test("duplicates on the wire are counted, and wrong before the first fault", () => {
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

test("two messages with one number", () => {
  const { states } = goodHistory();
  expect(kindsOf({ states: replaced(states, 1, state(1, { seq: 1 })) })).toEqual(["seq-reused"]);
  expect(kindsOf({ states: replaced(states, 1, state(1, { seq: 1, epoch: "l.2" })) })).toEqual([]);
});

test("a fallback twice, unless a dispatcher or Redis failed in between", () => {
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

test("a late fallback for an offline user: time in which its path was broken does not count", () => {
  const away = (calledMs: number, ...faults: FaultRecord[]): ViolationKind[] =>
    kindsOf({
      posts: [post(0, { user: "bob" })],
      states: [state(0, { state: "pushed" })],
      fallbacks: [call(0, { user: "bob", atMs: calledMs })],
      connections: [],
      wire: [],
      handled: [],
      acks: [],
      faults,
    });
  expect(away(40_000)).toEqual([]);
  expect(away(80_000)).toEqual(["fallback-late"]);
  expect(away(80_000, { ...fault("redis", 5, 6), kind: "clock" })).toEqual(["fallback-late"]);
  expect(away(80_000, fault("push-node-1", 0, 80_000))).toEqual(["fallback-late"]);
  expect(away(80_000, fault("dispatch-1", 100, 40_000))).toEqual([]);
  expect(away(80_000, fault("dispatch-1", 100, 20_000))).toEqual(["fallback-late"]);
  // Two at once count as one.
  const [one, other] = [fault("redis", 100, 20_000), fault("redis link of dispatch-2", 5_000, 20_000)];
  expect(away(80_000, one, other)).toEqual(["fallback-late"]);
  expect(away(80_000, one, fault("redis link of dispatch-2", 25_000, 40_000))).toEqual([]);
  // A user with a connection may still take it in time.
  expect(kindsOf({ fallbacks: [call(1, { atMs: 90_000 })] })).toEqual([]);
});

test("a fallback that nobody asked for", () => {
  const { posts } = goodHistory();
  expect(kindsOf({ fallbacks: [call(1)] })).toEqual([]);
  const never = replaced(posts, 1, post(1, { mayFallBack: false }));
  expect(kindsOf({ fallbacks: [call(1)], posts: never })).toEqual(["fallback-unasked"]);
  expect(kindsOf({ fallbacks: [call(1, { user: "bob" })] })).toEqual(["fallback-unasked"]);
  expect(kindsOf({ fallbacks: [call(9)] })).toEqual(["fallback-unasked"]);
});

test("a message without an answer may arrive or not", () => {
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

test("a hole: silence is a violation, on one connection, between two, and at the end", () => {
  const { wire } = goodHistory();
  const phone = connection("p1", { client: "alice phone" });
  const both = (...changes: Partial<History>[]): ViolationKind[] =>
    kindsOf({ connections: [on, phone], ...Object.assign({}, ...changes) });
  const onPhone = [0, 1, 2].map((n) => frame(n, phone));
  expect(both({ wire: [...wire, ...onPhone] })).toEqual([]);
  // The laptop has everything, so every message is reported as delivered; the phone's page begins too late.
  expect(both({ wire: [...wire, frame(0, phone), frame(2, phone)] })).toEqual(["seq-skipped"]);
  // Or nothing more comes.
  expect(both({ wire: [...wire, frame(0, phone)] })).toEqual(["hole-untold", "hole-untold"]);
  expect(both({ wire })).toEqual(["hole-untold", "hole-untold", "hole-untold"]);
  // Or it is told that it resumes, beyond what it has.
  const back = connection("p2", { client: "alice phone", after: 2, resumed: true, atMs: 50 });
  const resumedBehind = { connections: [on, phone, back], wire: [...wire, frame(0, phone), frame(2, back)] };
  expect(both(resumedBehind)).toEqual(["resumed-wrongly"]);
});

test("a reported or ended hole is none", () => {
  const { wire, handled, posts, states } = goodHistory();
  const phone = connection("p1", { client: "alice phone", closed: { code: 1012, atMs: 40 } });
  const told = connection("p2", { client: "alice phone", after: 2, atMs: 50 });
  const history = {
    ...goodHistory(),
    connections: [on, phone, told],
    wire: [...wire, frame(0, phone), frame(2, told)],
  };
  const { violations, counts } = checkHistory(history);
  expect([violations, counts.toldHoles]).toEqual([[], 1]);
  const resumed = connection("p2", { ...told, resumed: true });
  const expired = {
    ...history,
    connections: [on, phone, resumed],
    wire: [frame(0, on), frame(2, on), frame(0, phone), frame(2, resumed)],
    handled: [handling(0), handling(2)],
    posts: replaced(posts, 1, post(1, { mayExpire: true })),
    states: replaced(states, 1, state(1, { state: "expired" })),
  };
  expect(checkHistory(expired).violations).toEqual([]);
  expect(handled).toHaveLength(3);
});

test("resumed in an epoch that the device has never seen; an epoch that changes though Redis lives on", () => {
  const before = connection("c1", { closed: { code: 1012, atMs: 40 } });
  const wire = [0, 1, 2].map((n) => frame(n, before));
  const acks = [ack(3, before)];
  const next = (fields: Partial<ConnectionRecord>): ConnectionRecord =>
    connection("c2", { epoch: "l.2", after: 3, atMs: 60, ...fields });
  const kinds = (to: ConnectionRecord, ...faults: FaultRecord[]): ViolationKind[] =>
    kindsOf({ connections: [before, to], wire, acks, faults });
  const killed = fault("redis", 45, 55);
  expect(kinds(next({}), killed)).toEqual([]);
  expect(kinds(next({ resumed: true }), killed)).toEqual(["resumed-wrongly"]);
  expect(kinds(next({}))).toEqual(["epoch-without-loss"]);
  expect(kinds(next({}), { ...killed, kind: "replica" })).toEqual(["epoch-without-loss"]);
  expect(kinds(next({}), { ...killed, target: "push-node-1" })).toEqual(["epoch-without-loss"]);
  expect(kinds(next({}), fault("redis", 70, 80))).toEqual(["epoch-without-loss"]);
  // The welcome of the connection before was on its way, or unread, while Redis died.
  const late = connection("c1", { ...before, openedAtMs: 5, atMs: 20 });
  const early = fault("redis", 10, 15);
  const lateOn = (from: ConnectionRecord): ViolationKind[] =>
    kindsOf({
      connections: [from, next({})],
      wire: [0, 1, 2].map((n) => frame(n, from)),
      acks: [ack(3, from)],
      faults: [early],
    });
  expect(lateOn(late)).toEqual([]);
  expect(lateOn({ ...late, openedAtMs: 16 })).toEqual(["epoch-without-loss"]);
});

test("asked to move again and again", () => {
  const moves = (everyMs: number): History["moves"] =>
    Array.from({ length: 8 }, (_, i) => ({ connection: on, reason: "epoch", atMs: i * everyMs }));
  expect(kindsOf({ moves: moves(500) })).toEqual(["moved-endlessly"]);
  expect(kindsOf({ moves: moves(2_000) })).toEqual([]);
  expect(kindsOf({ moves: moves(500).slice(0, 6) })).toEqual([]);
});

test("a planned stop: a kept connection in use is neither cut nor refused", () => {
  const stop: FaultRecord = { ...fault("collect-1", 90, 120), kind: "stop" };
  const kinds = (one: AttemptRecord, ...faults: FaultRecord[]): ViolationKind[] =>
    kindsOf({ attempts: [one], faults: [stop, ...faults] });
  const cut = attempt({ status: undefined, problem: "ECONNRESET" });
  expect(kinds(attempt())).toEqual([]);
  expect(kinds(cut)).toEqual(["stop-refused"]);
  expect(kinds({ ...cut, startedAtMs: 80, endedAtMs: 95 })).toEqual(["stop-refused"]);
  expect(kinds(attempt({ status: 503 }))).toEqual(["stop-refused"]);
  // Not in use, new, elsewhere, at another time, killed meanwhile, given up by its sender.
  expect(kinds({ ...cut, idleMs: 5_000 })).toEqual([]);
  expect(kinds({ ...cut, idleMs: undefined })).toEqual([]);
  expect(kinds({ ...cut, target: "collect-2" })).toEqual([]);
  expect(kinds({ ...cut, startedAtMs: 121, endedAtMs: 130 })).toEqual([]);
  expect(kinds(cut, fault("collect-1", 105, 300))).toEqual([]);
  expect(kinds(cut, fault("redis", 105, 300))).toEqual(["stop-refused"]);
  expect(kinds({ ...cut, problem: "no answer in time" })).toEqual([]);
  // An outage explains a refusal.
  expect(kinds(attempt({ status: 503 }), fault("redis", 60, 70))).toEqual([]);
  const { counts } = checkHistory({ ...goodHistory(), attempts: [attempt()], faults: [stop] });
  expect(counts.keptDuringStops).toBe(1);
});

/** Alice is erased after her three messages, comes back, and gets a fourth. */
