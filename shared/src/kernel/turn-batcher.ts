// Collects what is asked for in one turn of the event loop, and while a call is under way, into one call.
// Guarantees: order of `add` is the order in the batches; an idle caller waits for no company; at most
// `maxInFlight` calls are under way, so that load makes batches larger instead of calls more.

export interface TurnBatcherOptions<Item> {
  /** Carries out one batch; must not reject: each item carries its own way to answer. */
  readonly flush: (items: Item[]) => Promise<void>;
  readonly maxInFlight: number;
  /** Items a call takes at most, so that no call keeps others waiting for long; without it, all that wait. */
  readonly maxItems?: number;
  /** Whether nobody waits for an item's answer any more: then it is dropped before a call, not sent along. */
  readonly isOver?: (item: Item) => boolean;
  readonly onDropped?: (item: Item) => void;
  /** How long the first item waits for company, where nobody waits for the answer; without it, for one turn. */
  readonly companyMs?: number;
}

export class TurnBatcher<Item> {
  readonly #flush: (items: Item[]) => Promise<void>;
  readonly #maxInFlight: number;
  readonly #maxItems: number;
  readonly #isOver: ((item: Item) => boolean) | undefined;
  readonly #onDropped: (item: Item) => void;
  readonly #companyMs: number | undefined;
  #items: Item[] = [];
  #inFlight = 0;
  #scheduled = false;
  #company: NodeJS.Timeout | undefined;
  #hurried = false;
  #idle: (() => void)[] = [];

  constructor({
    flush,
    maxInFlight,
    maxItems = Number.POSITIVE_INFINITY,
    isOver,
    onDropped = () => undefined,
    companyMs,
  }: TurnBatcherOptions<Item>) {
    this.#flush = flush;
    this.#maxInFlight = maxInFlight;
    this.#maxItems = maxItems;
    this.#isOver = isOver;
    this.#onDropped = onDropped;
    this.#companyMs = companyMs;
  }

  /** Items that wait for a call. */
  get waiting(): number {
    return this.#items.length;
  }

  /** Whether nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#items.length === 0;
  }

  /** Takes back, in order, those that still wait and are like this. */
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

  /** What waits now goes as soon as it can, without company. */
  hurry(): void {
    if (this.#items.length === 0) return;
    this.#hurried = true;
    if (this.#company === undefined) return;
    clearTimeout(this.#company);
    this.#company = undefined;
    setImmediate(() => this.#begin());
  }

  /** Resolves when nothing waits and nothing is under way. */
  async drained(): Promise<void> {
    while (this.#inFlight > 0 || this.#items.length > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#maxInFlight) return;
    this.#scheduled = true;
    // In the check phase, after the poll phase: all that arrived together is in by then.
    if (this.#companyMs === undefined || this.#hurried) setImmediate(() => this.#begin());
    else this.#company = setTimeout(() => this.#begin(), this.#companyMs);
  }

  #begin(): void {
    this.#scheduled = false;
    this.#company = undefined;
    this.#hurried = false;
    void this.#run();
  }

  /** Looked at from the oldest on: as long as nothing is over this costs one look a call. */
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
    // What was left behind may find a place of its own.
    if (this.#items.length > 0) this.#schedule();
    try {
      await this.#flush(items);
    } finally {
      this.#inFlight--;
      if (this.#items.length > 0) this.#schedule();
      this.#tellIfIdle();
    }
  }

  /** Whoever waits for it looks for itself. */
  #tellIfIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
