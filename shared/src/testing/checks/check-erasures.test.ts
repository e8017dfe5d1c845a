// Tests the checker on erased persons: what is left of them, and what comes after them.
import { expect, test } from "vitest";
import type { ConnectionRecord, HandledRecord, History, StateRecord } from "../peers/message-recorder.js";
import { checkHistory } from "./check-history.js";
import {
  ack,
  call,
  connection,
  erasure,
  fault,
  frame,
  goodHistory,
  handling,
  post,
  replaced,
  state,
} from "./good-history.js";
import type { ViolationKind } from "./violation.js";

function erasedHistory(): History {
  const first = connection("c1", { closed: { code: 4403, atMs: 120 } });
  const second = connection("c2", { client: "alice life 2", epoch: "m.1", atMs: 160 });
  const later = { startedAtMs: 200, answeredAtMs: 205 };
  const fourth = { client: "alice life 2", epoch: "m.1", seq: 1, atMs: 210 };
  return {
    ...goodHistory(),
    posts: [post(0), post(1), post(2), post(3, later)],
    connections: [first, second],
    wire: [...[0, 1, 2].map((n) => frame(n, first)), frame(3, second, { seq: 1, atMs: 208 })],
    handled: [0, 1, 2].map((n) => handling(n)).concat(handling(3, fourth)),
    acks: [ack(3, first), ack(1, second)],
    states: [0, 1, 2].map((n) => state(n, { state: "missing" })).concat(state(3, { epoch: "m.1", seq: 1 })),
    erasures: [erasure()],
  };
}

const erased = erasedHistory();

function erasedKinds(changes: Partial<History>): ViolationKind[] {
  return checkHistory({ ...erased, ...changes }).violations.map(({ kind }) => kind);
}

test("an erased person: earlier data is gone, later data stays", () => {
  const { states, wire, connections, handled } = erased;
  const [first, second] = connections as [ConnectionRecord, ConnectionRecord];
  expect(erasedKinds({})).toEqual([]);
  expect(erasedKinds({ states: replaced(states, 1, state(1)) })).toEqual(["erased-came-back"]);
  const shown = [...wire, frame(1, second, { seq: 2, atMs: 220 })];
  expect(erasedKinds({ wire: shown })).toEqual(["erased-came-back"]);
  expect(erasedKinds({ connections: [{ ...first, closed: undefined }, second] })).toContain(
    "erased-stays-connected",
  );
  // The new person's message.
  expect(erasedKinds({ states: replaced(states, 3, state(3, { state: "missing" })) })).toEqual(["lost"]);
  expect(erasedKinds({ handled: handled.slice(0, 3) })).toEqual(["delivered-unseen"]);
});

test("a channel is not called for an erased person, except for one call in progress", () => {
  const late = (atMs: number): Partial<History> => ({ fallbacks: [call(1, { atMs })] });
  expect(erasedKinds(late(300))).toEqual([]);
  expect(erasedKinds(late(60_000))).toEqual(["erased-came-back"]);
  expect(erasedKinds({ ...late(60_000), faults: [fault("dispatch-1", 110, 59_000)] })).toEqual([]);
});

test("a message sent again after the erasure, under its old id, is the new person's", () => {
  const { posts, states, handled } = erased;
  const again = replaced(posts, 3, post(3, { id: "m1", startedAtMs: 200, answeredAtMs: 205 }));
  const wire = erased.wire.map((one) => (one.atMs === 208 ? { ...one, id: "m1" } : one));
  const resent = {
    posts: again,
    wire,
    handled: replaced(handled, 3, { ...(handled[3] as HandledRecord), id: "m1" }),
    states: [states[0], states[2], state(1, { epoch: "m.1", seq: 1 })] as StateRecord[],
  };
  expect(erasedKinds(resent)).toEqual([]);
  // Settled by the old one's push: no channel was called for the new one.
  const pushed = state(1, { epoch: "m.1", seq: 1, state: "pushed" });
  const unseen = { ...resent, handled: handled.slice(0, 3) };
  expect(
    erasedKinds({
      ...unseen,
      states: [...resent.states.slice(0, 2), pushed],
      fallbacks: [call(1, { atMs: 90 })],
    }),
  ).toEqual(["pushed-unsent"]);
  const calledTwice = [call(1, { atMs: 90 }), call(1, { atMs: 300 })];
  expect(
    erasedKinds({ ...unseen, states: [...resent.states.slice(0, 2), pushed], fallbacks: calledTwice }),
  ).toEqual([]);
});

test("what came during an erasure: gone or kept, until the sockets were closed", () => {
  const during = (startedAtMs: number): Partial<History> => ({
    posts: replaced(erased.posts, 3, post(3, { startedAtMs, answeredAtMs: 145 })),
    states: replaced(erased.states, 3, state(3, { state: "missing" })),
  });
  expect(erasedKinds(during(110))).toEqual([]);
  expect(erasedKinds(during(130))).toEqual(["lost"]);
  // Requested twice, it may have taken effect twice.
  expect(erasedKinds({ ...during(130), erasures: [erasure({ attempts: 2 })] })).toEqual([]);
});
