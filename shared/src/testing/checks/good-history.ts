// Tests only: a history without a violation, and its parts, for the tests of the checker to break.
import type {
  AckRecord,
  AttemptRecord,
  ConnectionRecord,
  ErasureRecord,
  FallbackRecord,
  FaultRecord,
  HandledRecord,
  History,
  PostRecord,
  StateRecord,
  WireRecord,
} from "../peers/message-recorder.js";
import { checkHistory } from "./check-history.js";
import type { ViolationKind } from "./violation.js";

export const USER = "alice";

export function post(n: number, fields: Partial<PostRecord> = {}): PostRecord {
  return {
    n,
    user: USER,
    data: JSON.stringify({ n }),
    mayFallBack: true,
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

export const unknown = { outcome: "unknown", id: undefined, answeredAtMs: Number.POSITIVE_INFINITY } as const;

export function connection(id = "c1", fields: Partial<ConnectionRecord> = {}): ConnectionRecord {
  const where = { client: USER, user: USER, node: "n1", epoch: "l.1", after: 0, resumed: false };
  const { atMs = 0 } = fields;
  return { id, ...where, openedAtMs: atMs, atMs, closed: undefined, ...fields };
}

export function frame(n: number, on: ConnectionRecord, fields: Partial<WireRecord> = {}): WireRecord {
  return { connection: on, seq: n + 1, id: `m${n}`, atMs: n * 10 + 6, ...fields };
}

export function handling(n: number, fields: Partial<HandledRecord> = {}): HandledRecord {
  const message = { id: `m${n}`, n, data: JSON.stringify({ n }), seq: n + 1 };
  return { client: USER, user: USER, epoch: "l.1", ...message, atMs: n * 10 + 7, ...fields };
}

export function state(n: number, fields: Partial<StateRecord> = {}): StateRecord {
  return { id: `m${n}`, state: "delivered", seq: n + 1, epoch: "l.1", ...fields };
}

export function call(n: number, fields: Partial<FallbackRecord> = {}): FallbackRecord {
  return { id: `m${n}`, user: USER, n, atMs: n * 10 + 100, ...fields };
}

export const ack = (seq: number, on: ConnectionRecord, atMs = 1_000): AckRecord => ({
  connection: on,
  seq,
  atMs,
});

export const attempt = (fields: Partial<AttemptRecord> = {}): AttemptRecord => ({
  target: "collect-1",
  idleMs: 50,
  startedAtMs: 100,
  endedAtMs: 110,
  status: 202,
  problem: undefined,
  ...fields,
});

export const erasure = (fields: Partial<ErasureRecord> = {}): ErasureRecord => ({
  user: USER,
  atMs: 100,
  endedAtMs: 150,
  attempts: 1,
  ...fields,
});

export const fault = (target: string, atMs: number, endedAtMs = atMs): FaultRecord => ({
  kind: "kill",
  target,
  atMs,
  endedAtMs,
});

/** The connection of a good history. */
export const on = connection();

/** Three messages, delivered correctly. */
export function goodHistory(): History {
  const numbers = [0, 1, 2];
  return {
    posts: numbers.map((n) => post(n)),
    connections: [on],
    moves: [],
    wire: numbers.map((n) => frame(n, on)),
    handled: numbers.map((n) => handling(n)),
    acks: [ack(3, on)],
    fallbacks: [],
    states: numbers.map((n) => state(n)),
    faults: [],
    attempts: [],
    erasures: [],
    topics: { events: [], handled: [], holes: [] },
  };
}

export function kindsOf(changes: Partial<History>): ViolationKind[] {
  return checkHistory({ ...goodHistory(), ...changes }).violations.map(({ kind }) => kind);
}

export const replaced = <T>(values: readonly T[], index: number, value: T): T[] => values.with(index, value);
