// tab-member -> here: which tab leads, decided from locks and messages alone: no timer, no browser API.
// Guarantees: a tab leads only between a granted lock and its loss. Terms rise, so that nobody listens to a deposed tab
// that does not know it yet. A suspended tab neither holds nor awaits the lock.

/** The effects. Each is one call; results come back as events, if at all. */
export interface LeadershipActions {
  /** Answered by `granted`; with `steal`, the present holder loses the lock. */
  readonly requestLock: (steal: boolean) => void;
  /** Gives the lock back, or stops waiting for it. */
  readonly dropLock: () => void;
  readonly say: (kind: "who" | "leads" | "left", term: number) => void;
  readonly lead: (term: number) => void;
  readonly stepDown: () => void;
  /** Another tab leads. */
  readonly follow: (leader: Leader) => void;
}

export interface Leader {
  readonly id: string;
  readonly term: number;
}

export class Leadership {
  readonly #id: string;
  readonly #actions: LeadershipActions;
  readonly #nowMs: () => number;
  #leader: Leader | undefined;
  /** The highest term heard of. */
  #term = 0;
  #isRunning = false;
  /** Has asked `who`, and heard nothing since. */
  #isAsked = false;

  /** @param nowMs the machine's clock: the terms of all its tabs come from it */
  constructor(id: string, actions: LeadershipActions, nowMs: () => number) {
    this.#id = id;
    this.#actions = actions;
    this.#nowMs = nowMs;
  }

  get leader(): Leader | undefined {
    return this.#leader;
  }

  get isLeading(): boolean {
    return this.#leader?.id === this.#id;
  }

  /** Starts, or continues after a suspension. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#isAsked = false;
    this.#actions.requestLock(false);
    this.#actions.say("who", this.#term);
  }

  /** The tab is left, or suspended from now on. */
  stop(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    const { isLeading } = this;
    if (isLeading) this.#depose();
    this.#leader = undefined;
    this.#actions.dropLock();
    // After the lock, so that whoever hears it can get it.
    if (isLeading) this.#actions.say("left", this.#term);
  }

  granted(): void {
    if (!this.#isRunning) return;
    this.#term = Math.max(this.#term + 1, this.#nowMs());
    this.#leader = { id: this.#id, term: this.#term };
    this.#isAsked = false;
    this.#actions.lead(this.#term);
    this.#actions.say("leads", this.#term);
  }

  /** Another tab has taken the lock. */
  lost(): void {
    if (!this.#isRunning) return;
    if (this.isLeading) this.#depose();
    this.#actions.requestLock(false);
    this.#actions.say("who", this.#term);
  }

  /** @param from the tab that sent it */
  heard(kind: "who" | "leads" | "left", from: string, term: number): void {
    if (!this.#isRunning) return;
    if (kind === "who") {
      if (this.isLeading) this.#actions.say("leads", this.#term);
      return;
    }
    if (kind === "left") {
      if (this.#leader?.id === from) this.#leader = undefined;
      return;
    }
    if (term < this.#term) {
      // The sender was deposed, and does not know it.
      if (this.isLeading) this.#actions.say("leads", this.#term);
      return;
    }
    const isNews = this.#leader?.id !== from || this.#leader.term !== term;
    // Two took the lock in the same millisecond: pick one of them.
    if (isNews && term === this.#leader?.term && from < this.#leader.id) return;
    if (isNews && this.isLeading) this.#depose();
    this.#term = term;
    this.#isAsked = false;
    this.#leader = { id: from, term };
    if (isNews) this.#actions.follow(this.#leader);
  }

  /**
   * Somebody is looking at this tab: the leader must answer until the next call, or loses the lock. Call `forgive`
   * first if this tab itself was suspended in between.
   */
  challenge(): void {
    if (!this.#isRunning || this.isLeading) return;
    if (this.#isAsked) {
      this.usurp();
      return;
    }
    this.#isAsked = true;
    this.#actions.say("who", this.#term);
  }

  /** The leader may answer, but does not serve. */
  usurp(): void {
    if (!this.#isRunning || this.isLeading) return;
    this.#isAsked = false;
    // Keep listening to it until the lock is here: it may answer late, and nothing from it may be missed in between.
    this.#actions.dropLock();
    this.#actions.requestLock(true);
  }

  /** This tab may not have read an answer that was there. */
  forgive(): void {
    this.#isAsked = false;
  }

  #depose(): void {
    this.#leader = undefined;
    this.#actions.stepDown();
  }
}
