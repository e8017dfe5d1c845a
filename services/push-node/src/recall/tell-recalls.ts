// push-node/deliver/{receive-envelopes, deliver, catch-up}, push-node/connect/register-connection -> here ->
// push-node/connection/connection: tells clients about recalled messages.
// Guarantees: a client that was sent the message on this connection is told, once; a message that was not sent yet is
// no longer sent. A client that resumes is told about those that it may have been sent before. What a node misses while
// its link is down, it reads when it registers its connections again.
import { encodeServerFrame } from "@petrel/shared/protocol/frames/server-frames";
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import type { ConnectResult } from "@petrel/shared/redis/routes/connect-routes";
import type { Connection } from "../connection/connection.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import {
  createKnownRecalls,
  noteRecall,
  noteSkipped,
  type Recall,
  wasSkipped,
} from "../connection/known-recalls.js";

type ListedRecalls = (ConnectResult & { outcome: "connected" })["recalls"];

/** A message was just recalled. */
export function takeRecall(connection: Connection, recall: Recall): void {
  if (connection.phase === "closing") return;
  const known = (connection.recalls ??= createKnownRecalls());
  if (connection.phase === "registering") {
    // Its position is not known yet: see `welcomeRecalls`.
    known.ahead.set(recall.seq, recall);
    return;
  }
  if (lineageOf(recall.epoch) !== lineageOf(connection.epoch) || !noteRecall(known, recall.id)) return;
  if (recall.seq > connection.lastSent) known.ahead.set(recall.seq, recall);
  else if (!wasSkipped(known, recall.seq)) tell(connection, recall);
}

/**
 * Called with a connection's `welcome`.
 * @param position where its client says that it stopped; undefined if it had nothing before
 * @param listed the newest recalls of its user
 */
export function welcomeRecalls(
  connection: Connection,
  position: { readonly epoch: string; readonly since: number } | undefined,
  listed: ListedRecalls,
): void {
  if (listed === undefined && connection.recalls === undefined) return;
  const known = (connection.recalls ??= createKnownRecalls());
  const { epoch, lastSent } = connection;
  const lineage = lineageOf(epoch);
  const cameMeanwhile = [...known.ahead.values()].filter((recall) => lineageOf(recall.epoch) === lineage);
  known.ahead.clear();
  // What it was sent before and nobody had acknowledged: it may have received any of it.
  let from = Number.POSITIVE_INFINITY;
  if (position !== undefined && lineageOf(position.epoch) === lineage) {
    const floor = listed?.ackedUpTo ?? lastSent;
    from = position.epoch === epoch ? Math.min(position.since, floor) : floor;
  }
  for (const recall of [...(listed?.recalls ?? []), ...cameMeanwhile]) {
    if (!noteRecall(known, recall.id)) continue;
    if (recall.seq > from) tell(connection, { ...recall, epoch });
    if (recall.seq > lastSent) known.ahead.set(recall.seq, { ...recall, epoch });
  }
}

/** Called after its route was written again: covers what it missed meanwhile. */
export function recallAgain(connection: Connection, listed: ListedRecalls): void {
  for (const { seq, id } of listed?.recalls ?? []) {
    takeRecall(connection, { seq, id, epoch: connection.epoch });
  }
}

/** Whether this message, about to be sent, was recalled; call it once for each. */
export function isTakenBack(connection: Connection, seq: number): boolean {
  return connection.recalls?.ahead.delete(seq) === true;
}

/** None of these numbers was sent, because all have ended. */
export function passOver(connection: Connection, from: number, to: number): void {
  if (to < from) return;
  const known = (connection.recalls ??= createKnownRecalls());
  noteSkipped(known, from, to);
  for (const seq of known.ahead.keys()) if (seq <= to) known.ahead.delete(seq);
}

function tell(connection: Connection, { seq, id }: Recall): void {
  connection.queue(encodeTextFrame(encodeServerFrame({ type: "recalled", seq, id })));
}
