// logging -> here: a fault that every request meets, such as an absent Redis, is logged but not repeated.
// Guarantees: of lines with the same text and the same reason the first few are written, then one a second with a count
// (`times`). A line without a reason is no fault and is always written. So is what is recorded nowhere else: an act
// that the audit log could not take (`audit`), the messages that hung (`ids`).
import { type Clock, systemClock } from "../clock.js";

const AT_ONCE = 10;
const EVERY_MS = 1_000;
const STANDS_NOWHERE_ELSE = ["audit", "ids"] as const;
/** There are few kinds; the bound holds even if a reason contains a name or a number. */
const MAX_KINDS = 500;

interface Kind {
  left: number;
  sinceMs: number;
  unsaid: number;
}

/** @returns how often this line came since it was last written, including now; 0 if it is not to be written */
export function createLineCount(
  clock: Clock = systemClock,
): (level: number, fields: unknown, text: unknown) => number {
  const kinds = new Map<string, Kind>();
  return (level, fields, text) => {
    const reason = reasonOf(fields);
    if (reason === undefined || typeof text !== "string") return 1;
    const nowMs = clock.monotonicMs();
    const name = `${level}\n${text}\n${reason}`;
    let kind = kinds.get(name);
    if (kind === undefined) {
      if (kinds.size >= MAX_KINDS) kinds.clear();
      kind = { left: AT_ONCE, sinceMs: nowMs, unsaid: 0 };
      kinds.set(name, kind);
    }
    const earned = Math.floor((nowMs - kind.sinceMs) / EVERY_MS);
    if (earned > 0) {
      kind.left = Math.min(AT_ONCE, kind.left + earned);
      kind.sinceMs += earned * EVERY_MS;
    }
    if (kind.left === 0) {
      kind.unsaid++;
      return 0;
    }
    kind.left--;
    const times = 1 + kind.unsaid;
    kind.unsaid = 0;
    return times;
  };
}

/** Why something failed, with the error's causes; undefined if the line must be written anyway. */
function reasonOf(fields: unknown): string | undefined {
  if (typeof fields !== "object" || fields === null) return undefined;
  if (STANDS_NOWHERE_ELSE.some((name) => name in fields)) return undefined;
  const { reason, err } = fields as { readonly reason?: unknown; readonly err?: unknown };
  if (typeof reason === "string") return reason;
  const error = fields instanceof Error ? fields : err;
  if (!(error instanceof Error)) return undefined;
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
