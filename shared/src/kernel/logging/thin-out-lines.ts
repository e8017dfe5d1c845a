// logging -> here: logs a fault that every request or connection meets, such as an absent Redis, without repeating it.
// Guarantees: of lines with the same text and reason, the first is written at once. After that one line a minute
// carries the latest fields and a count (`times`). None goes uncounted: a timer and the exit write what is still
// unsaid. Always written are lines without a reason, which are no faults, and lines that are the only record of
// something: an act that the audit log could not take (`audit`), the messages that hung (`ids`).
import { type Clock, systemClock } from "../clock.js";

const EVERY_MS = 60_000;
const STANDS_NOWHERE_ELSE = ["audit", "ids"] as const;
/** There are few kinds; the bound is a guard in case a reason contains a name or a number. */
const MAX_KINDS = 500;

/** @param times how many lines this one stands for */
export type WriteLine = (times: number) => void;

interface Kind {
  saidAtMs: number;
  unsaid: number;
  /** Writes the latest line that was held back. */
  write: WriteLine | undefined;
}

export interface ThinOutOptions {
  readonly clock?: Clock;
  /** Calls later, but keeps no process alive for it; tests pass their own. */
  readonly after?: (ms: number, call: () => void) => void;
}

export class ThinOutLines {
  readonly #clock: Clock;
  readonly #after: (ms: number, call: () => void) => void;
  readonly #kinds = new Map<string, Kind>();
  #isAwaited = false;

  constructor({ clock = systemClock, after = afterUnlessOver }: ThinOutOptions = {}) {
    this.#clock = clock;
    this.#after = after;
  }

  /** Writes the line now, or counts it for a later one of its kind. */
  line(level: number, fields: unknown, text: unknown, write: WriteLine): void {
    const reason = reasonOf(fields);
    if (reason === undefined || typeof text !== "string") {
      write(1);
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const name = `${level}\n${text}\n${reason}`;
    const kind = this.#kinds.get(name);
    if (kind === undefined) {
      if (this.#kinds.size >= MAX_KINDS) this.flush();
      this.#kinds.set(name, { saidAtMs: nowMs, unsaid: 0, write: undefined });
      write(1);
      return;
    }
    kind.unsaid++;
    kind.write = write;
    if (nowMs - kind.saidAtMs >= EVERY_MS) this.#say(kind, nowMs);
    else this.#lookLater(EVERY_MS);
  }

  /** Writes what was held back, and forgets all kinds. */
  flush(): void {
    for (const kind of this.#kinds.values()) this.#say(kind, 0);
    this.#kinds.clear();
  }

  #say(kind: Kind, nowMs: number): void {
    const { unsaid, write } = kind;
    kind.saidAtMs = nowMs;
    kind.unsaid = 0;
    kind.write = undefined;
    if (unsaid > 0) write?.(unsaid);
  }

  #lookLater(ms: number): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    this.#after(ms, () => {
      this.#isAwaited = false;
      this.#look();
    });
  }

  /** Writes what has been held back for a minute. */
  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [name, kind] of this.#kinds) {
      const leftMs = kind.saidAtMs + EVERY_MS - nowMs;
      if (kind.unsaid > 0 && leftMs > 0) nextMs = Math.min(nextMs, leftMs);
      else if (kind.unsaid > 0) this.#say(kind, nowMs);
      else if (leftMs <= 0) this.#kinds.delete(name);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#lookLater(nextMs);
  }
}

function afterUnlessOver(ms: number, call: () => void): void {
  setTimeout(call, ms).unref();
}

/** Why something failed, with the error's causes; undefined if the line must always be written. */
function reasonOf(fields: unknown): string | undefined {
  if (typeof fields !== "object" || fields === null) return undefined;
  if (STANDS_NOWHERE_ELSE.some((name) => name in fields)) return undefined;
  const { reason, err } = fields as { readonly reason?: unknown; readonly err?: unknown };
  if (typeof reason === "string") return reason;
  const error = fields instanceof Error ? fields : err;
  if (!(error instanceof Error)) return undefined;
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
