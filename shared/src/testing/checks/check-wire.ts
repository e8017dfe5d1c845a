// check-history -> here: what went over each connection, frame by frame.
// Guarantees: as check-history.
import type { ConnectionRecord, History } from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

export interface WireFindings {
  readonly violations: readonly Violation[];
  /** Frames with a message that the client had been sent before. */
  readonly duplicates: number;
}

/** @param endedUnseen whether the message at this position ended without being shown: its number may be skipped */
export function checkWire(
  history: History,
  endedUnseen: (user: string, epoch: string, seq: number) => boolean,
): WireFindings {
  const violations: Violation[] = [];
  const firstFaultMs = Math.min(...history.faults.map(({ atMs }) => atMs));
  const lastSeq = new Map<ConnectionRecord, number>();
  const sent = new Set<string>();
  let duplicates = 0;
  for (const { connection, seq, id, atMs } of history.wire) {
    const where = `seq ${seq} on ${describe(connection)}`;
    const last = lastSeq.get(connection) ?? connection.after;
    if (seq <= last) violations.push({ kind: "seq-not-rising", detail: `${where} after ${last}` });
    for (let skipped = last + 1; skipped < seq; skipped++) {
      if (endedUnseen(connection.user, connection.epoch, skipped)) continue;
      violations.push({ kind: "seq-skipped", detail: `${skipped} before ${where}` });
    }
    lastSeq.set(connection, Math.max(seq, last));

    const name = `${connection.client}\t${id}`;
    if (sent.has(name)) {
      duplicates++;
      if (atMs < firstFaultMs)
        violations.push({ kind: "wire-duplicate-without-fault", detail: `${id}, ${where}` });
    }
    sent.add(name);
  }
  return { violations: [...violations, ...checkAcks(history)], duplicates };
}

function checkAcks({ wire, acks }: History): Violation[] {
  const highest = new Map<ConnectionRecord, { seq: number; atMs: number }[]>();
  for (const { connection, seq, atMs } of wire) {
    const rises = highest.get(connection);
    if (rises === undefined) highest.set(connection, [{ seq, atMs }]);
    else rises.push({ seq, atMs });
  }
  return acks.flatMap(({ connection, seq, atMs }): Violation[] => {
    if (seq <= connection.after) return [];
    const carried = (highest.get(connection) ?? []).some((one) => one.seq >= seq && one.atMs <= atMs);
    return carried ? [] : [{ kind: "ack-beyond-sent", detail: `ack ${seq} on ${describe(connection)}` }];
  });
}

function describe({ id, client, node, epoch }: ConnectionRecord): string {
  return `connection ${id} of ${client} at ${node} (epoch ${epoch})`;
}
