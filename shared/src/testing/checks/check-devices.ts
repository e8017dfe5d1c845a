// check-history -> here: what each device was shown over all its connections, and what it was told about the rest.
// Guarantees: as check-history. For each message a device either saw the frame, or learned from `resumed: false` that
// it may not see some.
import { lineageOf } from "../../protocol/messages/stored-message.js";
import type {
  ConnectionRecord,
  FaultRecord,
  History,
  PostRecord,
  StateRecord,
} from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

export interface DeviceFindings {
  readonly violations: readonly Violation[];
  /** Connections that told their device of a hole. */
  readonly toldHoles: number;
}

type EndedUnseen = (user: string, epoch: string, seq: number) => boolean;

/** More moves in that time than faults cause, which come one after another. */
const MOST_MOVES = 6;
const MOVES_WITHIN_MS = 10_000;

/**
 * @param kept accepted messages that nobody has erased
 * @param endedUnseen whether the message at this position ended without being shown
 */
export function checkDevices(
  history: History,
  kept: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
  endedUnseen: EndedUnseen,
): DeviceFindings {
  const highestOn = highestSeqs(history);
  const violations: Violation[] = [];
  let toldHoles = 0;
  for (const connections of connectionsByClient(history).values()) {
    /** The device has seen everything up to here, or knows that it has not. */
    let known = 0;
    let before: ConnectionRecord | undefined;
    for (const connection of connections) {
      const { epoch, after, resumed } = connection;
      if (before !== undefined) {
        const isSameLineage = lineageOf(before.epoch) === lineageOf(epoch);
        if (!isSameLineage) known = 0;
        if (resumed) {
          const problem = describeWrongResume(connection, before, known, endedUnseen);
          if (problem !== undefined) violations.push({ kind: "resumed-wrongly", detail: problem });
        } else if (isSameLineage && after > known) toldHoles++;
        if (isSameLineage && before.epoch !== epoch && !mayHaveLost(history.faults, before, connection)) {
          violations.push({
            kind: "epoch-without-loss",
            detail: `${describe(connection)} after ${before.epoch}`,
          });
        }
      }
      known = Math.max(known, after, highestOn.get(connection) ?? 0);
      before = connection;
    }
    if (before?.closed === undefined && before !== undefined) {
      violations.push(...neverShown(before, known, kept, stateOf, endedUnseen));
    }
  }
  return { violations: [...violations, ...checkMoves(history)], toldHoles };
}

/** The messages after the last one that the device knows of, which it was never shown. */
function neverShown(
  connection: ConnectionRecord,
  known: number,
  kept: readonly PostRecord[],
  stateOf: ReadonlyMap<string, StateRecord>,
  endedUnseen: EndedUnseen,
): Violation[] {
  return kept.flatMap(({ id = "", user }): Violation[] => {
    const state = stateOf.get(id);
    if (user !== connection.user || state === undefined || state.seq <= known) return [];
    if (lineageOf(state.epoch) !== lineageOf(connection.epoch)) return [];
    if (endedUnseen(user, state.epoch, state.seq)) return [];
    return [
      { kind: "hole-untold", detail: `seq ${state.seq} (${id}) was never sent on ${describe(connection)}` },
    ];
  });
}

function describeWrongResume(
  connection: ConnectionRecord,
  before: ConnectionRecord,
  known: number,
  endedUnseen: EndedUnseen,
): string | undefined {
  const { user, epoch, after } = connection;
  if (before.epoch !== epoch) return `${describe(connection)}, but it came from epoch ${before.epoch}`;
  for (let seq = known + 1; seq <= after; seq++) {
    if (!endedUnseen(user, epoch, seq))
      return `${describe(connection)} begins after ${after}, but it has only ${known}`;
  }
  return undefined;
}

/**
 * Only a Redis that dies, or is replaced by another, may have lost something. A welcome may have been on its way while
 * it died.
 */
function mayHaveLost(
  faults: readonly FaultRecord[],
  before: ConnectionRecord,
  connection: ConnectionRecord,
): boolean {
  return faults.some(
    ({ kind, target, atMs, endedAtMs }) =>
      target === "redis" &&
      (kind === "kill" || kind === "skew") &&
      atMs <= connection.atMs &&
      endedAtMs >= before.openedAtMs,
  );
}

function checkMoves({ moves }: History): Violation[] {
  const timesOf = new Map<string, number[]>();
  for (const { connection, atMs } of moves) {
    const times = timesOf.get(connection.client) ?? [];
    times.push(atMs);
    timesOf.set(connection.client, times);
  }
  return [...timesOf].flatMap(([client, times]): Violation[] => {
    const isEndless = times.some((atMs, i) => atMs - (times[i - MOST_MOVES] ?? -Infinity) <= MOVES_WITHIN_MS);
    return isEndless ? [{ kind: "moved-endlessly", detail: `${client}: ${times.length} times in all` }] : [];
  });
}

function highestSeqs({ wire }: History): Map<ConnectionRecord, number> {
  const highest = new Map<ConnectionRecord, number>();
  for (const { connection, seq } of wire) {
    highest.set(connection, Math.max(seq, highest.get(connection) ?? 0));
  }
  return highest;
}

/** In the order of their welcome. */
function connectionsByClient({ connections }: History): Map<string, ConnectionRecord[]> {
  const byClient = new Map<string, ConnectionRecord[]>();
  for (const connection of connections) {
    const others = byClient.get(connection.client);
    if (others === undefined) byClient.set(connection.client, [connection]);
    else others.push(connection);
  }
  return byClient;
}

function describe({ id, client, node, epoch }: ConnectionRecord): string {
  return `connection ${id} of ${client} at ${node} (epoch ${epoch})`;
}
