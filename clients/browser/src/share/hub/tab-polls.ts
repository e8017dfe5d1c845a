// upstream -> here -> the tabs: which of the tabs that an ack or the end of a connection waits for are still there.
// Guarantees: counts missing answers rather than milliseconds, because this tab itself may have been suspended, with
// the answers unread.
import { tabOf, type OpenSocket } from "./share-messages.js";

/** A tab's socket on this connection. */
export interface Attached {
  readonly open: OpenSocket;
  readonly tab: string;
  isWelcomed: boolean;
  wants: boolean;
  acked: number;
  sent: number;
  /** When it last sent anything, or began to owe an ack. */
  heardAtMs: number;
  /** Polls since it last sent anything. */
  unanswered: number;
}

export function attachedOf(open: OpenSocket): Attached {
  const heardAtMs = performance.now();
  const { socket, wants } = open;
  return { open, tab: tabOf(socket), isWelcomed: false, wants, acked: 0, sent: 0, heardAtMs, unanswered: 0 };
}

export interface TabPollsOptions {
  readonly silentMs: number;
  readonly attached: () => readonly Attached[];
  readonly ask: (sockets: readonly string[]) => void;
  /** These are no longer waited for. */
  readonly onSilent: (sockets: readonly string[]) => void;
  /** Some tab may have been silent for too long. */
  readonly onPolled: () => void;
}

const POLL_MS = 1_000;

export class TabPolls {
  readonly #options: TabPollsOptions;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** All tabs have to move to another connection. */
  #isLeft = false;
  #isStopped = false;

  constructor(options: TabPollsOptions) {
    this.#options = options;
  }

  /** From now on, polls the tabs that owe an ack. */
  start(): void {
    if (!this.#isStopped) this.#timer ??= setInterval(() => this.#poll(), POLL_MS);
  }

  /** From now on, polls all tabs: a crashed one never moves, and would keep this connection open. */
  leave(): void {
    this.#isLeft = true;
    this.start();
  }

  /** The tab has sent something. */
  heard(one: Attached): void {
    one.heardAtMs = performance.now();
    one.unanswered = 0;
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  #poll(): void {
    const { silentMs, attached, ask, onSilent, onPolled } = this.#options;
    if (this.#isLeft) {
      const enough = Math.max(1, silentMs / POLL_MS);
      const silent = attached().filter(({ unanswered }) => unanswered >= enough);
      if (silent.length > 0) onSilent(silent.map(({ open }) => open.socket));
    }
    if (this.#isStopped) return;
    const asked = attached().filter(({ wants, acked, sent }) => this.#isLeft || (wants && acked < sent));
    for (const one of asked) one.unanswered++;
    if (asked.length > 0) ask(asked.map(({ open }) => open.socket));
    onPolled();
  }
}
