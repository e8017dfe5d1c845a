// Collects items into one call: those of one turn of the event loop, and those that arrive while a call is under way.
// Guarantees: batches keep the order of `add`. With nothing under way an item does not linger, unless told to. At most
// `maxInFlight` calls are under way, so under load batches grow, not their number.

export interface TurnBatcherOptions<Item> {
  /** Carries out one batch; must not reject, because each item carries its own way to answer. */
  readonly flush: (items: Item[]) => Promise<void>;
  readonly maxInFlight: number;
  /** The most items per call, so that none delays others for long; unbounded by default. */
  readonly maxItems?: number;
  /** Whether nobody waits for this item's answer any more; then it is dropped before the call. */
  readonly isOver?: (item: Item) => boolean;
  readonly onDropped?: (item: Item) => void;
  /** How long the first item lingers for others to join its batch; by default one turn. */
  readonly lingerMs?: number;
}

export class TurnBatcher<Item> {
  readonly #carryOut: (items: Item[]) => Promise<void>;
  readonly #maxInFlight: number;
  readonly #maxItems: number;
  readonly #isOver: ((item: Item) => boolean) | undefined;
  readonly #onDropped: (item: Item) => void;
  readonly #lingerMs: number | undefined;
  #items: Item[] = [];
  #inFlight = 0;
  #scheduled = false;
  #linger: NodeJS.Timeout | undefined;
  #mustFlush = false;
  #idle: (() => void)[] = [];

  constructor({
    flush,
    maxInFlight,
    maxItems = Number.POSITIVE_INFINITY,
    isOver,
    onDropped = () => undefined,
    lingerMs,
  }: TurnBatcherOptions<Item>) {
    this.#carryOut = flush;
    this.#maxInFlight = maxInFlight;
    this.#maxItems = maxItems;
    this.#isOver = isOver;
    this.#onDropped = onDropped;
    this.#lingerMs = lingerMs;
  }

  /** Items waiting for a call. */
  get waiting(): number {
    return this.#items.length;
  }

  /** True if nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#items.length === 0;
  }

  /** Takes back, in order, the waiting items that match. */
  takeBack(isWanted: (item: Item) => boolean): Item[] {
    const taken: Item[] = [];
    const left: Item[] = [];
    for (const item of this.#items) (isWanted(item) ? taken : left).push(item);
    this.#items = left;
    return taken;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#schedule();
  }

  /** Ends the lingering: waiting items go as soon as a call is free. */
  flush(): void {
    if (this.#items.length === 0) return;
    this.#mustFlush = true;
    if (this.#linger === undefined) return;
    clearTimeout(this.#linger);
    this.#linger = undefined;
    setImmediate(() => this.#begin());
  }

  /** Resolves once nothing waits and nothing is under way. */
  async drained(): Promise<void> {
    while (this.#inFlight > 0 || this.#items.length > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#maxInFlight) return;
    this.#scheduled = true;
    // `setImmediate` runs after the poll phase, so everything that arrived together is in by then.
    if (this.#lingerMs === undefined || this.#mustFlush) setImmediate(() => this.#begin());
    else this.#linger = setTimeout(() => this.#begin(), this.#lingerMs);
  }

  #begin(): void {
    this.#scheduled = false;
    this.#linger = undefined;
    this.#mustFlush = false;
    void this.#run();
  }

  /** Checks the oldest first: while none is over, this costs one check per call. */
  #dropWhatIsOver(): void {
    const isOver = this.#isOver;
    const [oldest] = this.#items;
    if (isOver === undefined || oldest === undefined || !isOver(oldest)) return;
    for (const item of this.takeBack(isOver)) this.#onDropped(item);
  }

  async #run(): Promise<void> {
    if (this.#inFlight >= this.#maxInFlight) return;
    this.#dropWhatIsOver();
    if (this.#items.length === 0) {
      this.#tellIfIdle();
      return;
    }
    const items = this.#items.length <= this.#maxItems ? this.#items : this.#items.slice(0, this.#maxItems);
    this.#items = this.#items.slice(items.length);
    this.#inFlight++;
    // The rest can go in a call of its own.
    if (this.#items.length > 0) this.#schedule();
    try {
      await this.#carryOut(items);
    } finally {
      this.#inFlight--;
      if (this.#items.length > 0) this.#schedule();
      this.#tellIfIdle();
    }
  }

  /** Each waiter checks again for itself. */
  #tellIfIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
