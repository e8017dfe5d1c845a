// mongo-archive -> here: a row of the archive as a document of MongoDB.
// Guarantees: decoding an encoded row restores it; `v` names the schema that the document was written with.
import { lineageOf } from "../protocol/messages/stored-message.js";
import type { ArchivedRow, ArchivedState, NewRow, RowHistory, RowUpdate } from "./message-archive.js";

export const SCHEMA_VERSION = 1;

export interface RowDocument {
  readonly _id: string;
  readonly v: number;
  readonly partition: number;
  readonly recipient: string;
  readonly from?: string;
  readonly data: string;
  readonly notification?: string;
  readonly fallback: NewRow["fallback"];
  readonly priority: NewRow["priority"];
  readonly collapseKey?: string;
  readonly ttlMs: number;
  readonly deliverAt?: Date;
  readonly history?: RowHistory;
  readonly fingerprint: string;
  readonly attempt: string;
  readonly acceptedAt: Date;
  readonly expiresAt: Date;
  readonly state: ArchivedState;
  readonly deleteAt: Date;
  readonly lookAt?: Date;
  readonly seq?: number;
  readonly epoch?: string;
  readonly lineage?: string;
  readonly endedAt?: Date;
  readonly word?: string;
  readonly missingSince?: Date;
  readonly lost?: true;
}

/** When a new row is first checked: most have been acknowledged by then. */
export const FIRST_LOOK_MS = 3_000;
const DAY_MS = 86_400_000;

/** @param keepMs how long a row is kept after its acceptance; always until at least a day after its expiry */
export function encodeRow(row: NewRow, keepMs: number): RowDocument {
  const { id, from, notification, collapseKey, deliverAtMs, history, acceptedAtMs, expiresAtMs } = row;
  return {
    _id: id,
    v: SCHEMA_VERSION,
    partition: row.partition,
    recipient: row.recipient,
    ...(from === undefined ? {} : { from }),
    data: row.data,
    ...(notification === "" ? {} : { notification }),
    fallback: row.fallback,
    priority: row.priority,
    ...(collapseKey === undefined ? {} : { collapseKey }),
    ttlMs: row.ttlMs,
    ...(deliverAtMs === undefined ? {} : { deliverAt: new Date(deliverAtMs) }),
    ...(history === undefined
      ? {}
      : { history: { size: history.size, ageMs: history.ageMs, bytes: history.bytes } }),
    fingerprint: row.fingerprint,
    attempt: row.attempt,
    acceptedAt: new Date(acceptedAtMs),
    expiresAt: new Date(expiresAtMs),
    state: "pending",
    deleteAt: new Date(Math.max(acceptedAtMs + keepMs, expiresAtMs + DAY_MS)),
    lookAt: new Date(acceptedAtMs + FIRST_LOOK_MS),
  };
}

export function decodeRow(document: RowDocument): ArchivedRow {
  const { _id: id, notification = "", collapseKey, deliverAt, seq, epoch, endedAt, word } = document;
  return {
    id,
    partition: document.partition,
    recipient: document.recipient,
    from: document.from,
    data: document.data,
    notification,
    fallback: document.fallback,
    priority: document.priority,
    collapseKey,
    ttlMs: document.ttlMs,
    deliverAtMs: deliverAt?.getTime(),
    history: document.history,
    fingerprint: document.fingerprint,
    attempt: document.attempt,
    acceptedAtMs: document.acceptedAt.getTime(),
    expiresAtMs: document.expiresAt.getTime(),
    state: document.state,
    seq,
    epoch,
    endedAtMs: endedAt?.getTime(),
    word,
    lookAtMs: document.lookAt?.getTime(),
    missingSinceMs: document.missingSince?.getTime(),
    isLost: document.lost === true,
  };
}

/** The change as MongoDB's update operators. */
export function encodeUpdate(update: RowUpdate): {
  readonly $set?: Readonly<Record<string, unknown>>;
  readonly $unset?: Readonly<Record<string, "">>;
} {
  const { state, seq, epoch, acceptedAtMs, expiresAtMs, endedAtMs, word } = update;
  const { lookAtMs, missingSinceMs, isLost } = update;
  const set: Record<string, unknown> = {};
  const unset: Record<string, ""> = {};
  const put = (name: string, value: unknown): void => {
    if (value === null) unset[name] = "";
    else if (value !== undefined) set[name] = value;
  };
  put("state", state);
  put("seq", seq);
  put("epoch", epoch);
  put("lineage", epoch === undefined ? undefined : lineageOf(epoch));
  put("acceptedAt", timeOf(acceptedAtMs));
  put("expiresAt", timeOf(expiresAtMs));
  put("endedAt", timeOf(endedAtMs));
  put("word", word);
  put("lookAt", timeOf(lookAtMs));
  put("missingSince", timeOf(missingSinceMs));
  put("lost", isLost);
  return {
    ...(Object.keys(set).length === 0 ? {} : { $set: set }),
    ...(Object.keys(unset).length === 0 ? {} : { $unset: unset }),
  };
}

function timeOf(ms: number | null | undefined): Date | null | undefined {
  return typeof ms === "number" ? new Date(ms) : ms;
}
