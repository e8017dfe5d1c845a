// Tests only: a row of the message archive.
import { randomBytes } from "node:crypto";
import type { NewRow } from "../../archive/message-archive.js";

/** When such a row was accepted, ms. */
export const T0 = 1_800_000_000_000;

/** A row with a fresh id; `parts` override. */
export function newRow(parts: Partial<NewRow> = {}): NewRow {
  return {
    id: `p0_${randomBytes(16).toString("base64url")}`,
    partition: 0,
    recipient: "ada",
    data: `{"n":1}`,
    notification: "",
    fallback: "offline",
    priority: "normal",
    collapseKey: undefined,
    ttlMs: 600_000,
    deliverAtMs: undefined,
    fingerprint: "-",
    attempt: "-",
    acceptedAtMs: T0,
    expiresAtMs: T0 + 600_000,
    ...parts,
  };
}
