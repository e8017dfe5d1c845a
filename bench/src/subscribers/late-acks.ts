// Bench: when a client acknowledges: at once after a quiet spell, then once for what came in a while, as the client
// library does.
// Guarantees: every message is acknowledged within the delay; one frame says so for all that came before it.

export class LateAcks {
  private newest = 0;
  private lastMs = Number.NEGATIVE_INFINITY;
  private waits = false;
  private timer: NodeJS.Timeout | undefined;

  /** @param delayMs 0: once a turn */
  constructor(
    private readonly delayMs: number,
    private readonly send: (seq: number) => void,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  heard(seq: number): void {
    this.newest = seq;
    if (this.waits) return;
    this.waits = true;
    const leftMs = this.lastMs + this.delayMs - this.nowMs();
    if (leftMs <= 0) setImmediate(() => this.flush());
    else this.timer = setTimeout(() => this.flush(), leftMs);
  }

  stop(): void {
    clearTimeout(this.timer);
    // Nothing is sent any more.
    this.waits = true;
    this.newest = 0;
  }

  private flush(): void {
    if (this.newest === 0) return;
    this.waits = false;
    this.lastMs = this.nowMs();
    this.send(this.newest);
  }
}
