// upstream -> here: up to where the tabs' acknowledgements may be passed on.
// Guarantees: a tab that may have lost the lock passes nothing on. With `any`, the furthest tab decides. With `all`,
// nothing is acknowledged that a tab still owes, unless it wants no messages, or has been silent for too long.

export type SharedAck = "any" | "all";

export interface TabAck {
  /** Everything up to here is acknowledged by this tab. */
  readonly acked: number;
  /** Everything up to here was sent to it. */
  readonly sent: number;
  /** Whether its application listens for messages. */
  readonly wants: boolean;
  /** When it last sent anything. */
  readonly heardAtMs: number;
}

/** @returns a seq; 0 if nothing may be acknowledged */
export function ackedBy(
  policy: SharedAck,
  tabs: readonly TabAck[],
  { nowMs, silentMs }: { readonly nowMs: number; readonly silentMs: number },
): number {
  const furthest = Math.max(0, ...tabs.map(({ acked }) => acked));
  if (policy === "any") return furthest;
  const owing = tabs.filter(
    ({ acked, sent, wants, heardAtMs }) => wants && acked < sent && nowMs - heardAtMs < silentMs,
  );
  // Tabs that owe nothing have acknowledged everything that was sent.
  return Math.min(furthest, ...owing.map(({ acked }) => acked));
}

export interface AckPasserOptions {
  /** Whether the lock is certainly still held. */
  readonly isHeld: () => boolean | Promise<boolean>;
  readonly ackable: () => number;
  /** @returns whether the socket took it */
  readonly send: (seq: number) => boolean;
}

/** Passes on what the tabs have acknowledged. */
export class AckPasser {
  readonly #options: AckPasserOptions;
  #acked = 0;
  /** An ack waits for the lock to be confirmed. */
  #isConfirming = false;
  #isEnded = false;

  constructor(options: AckPasserOptions) {
    this.#options = options;
  }

  /** The server knows that everything up to here is acknowledged. */
  get acked(): number {
    return this.#acked;
  }

  /** The connection begins after this. */
  start(acked: number): void {
    this.#acked = acked;
  }

  pass(): void {
    const { ackable, isHeld, send } = this.#options;
    const seq = ackable();
    if (seq <= this.#acked || this.#isConfirming || this.#isEnded) return;
    const held = isHeld();
    if (typeof held === "boolean") {
      if (held && send(seq)) this.#acked = seq;
      return;
    }
    this.#isConfirming = true;
    void held.then((isSo) => {
      this.#isConfirming = false;
      if (isSo) this.pass();
    });
  }

  /** The server sent this again, or a tab acknowledged it again: the ack may have been lost. */
  repeat(seq: number): void {
    if (seq <= this.#acked) this.#options.send(this.#acked);
  }

  end(): void {
    this.#isEnded = true;
  }
}
