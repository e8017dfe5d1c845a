// tab-member -> here: who leads, decided from locks and messages alone: no timer, no browser.
// Guarantees: a tab leads only between a granted lock and its loss; terms rise, so that one that was deposed, and does not
// know it yet, is heard by nobody; a tab that stands still neither holds nor awaits the lock.

/** What has to be done. Each is one call, and answers by an event, if at all. */
export interface LeadershipActions {
  /** Answers by `granted`; with `steal`, whoever has the lock loses it. */
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
  /** The highest that was heard of. */
  #term = 0;
  #isRunning = false;
  /** Said `who`, and heard nothing since. */
  #isAsked = false;

  /** @param nowMs the clock of the machine: terms of all its tabs come from it */
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

  /** Begins, or goes on after it stood still. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#isAsked = false;
    this.#actions.requestLock(false);
    this.#actions.say("who", this.#term);
  }

  /** The tab is left, or stands still from now on. */
  stop(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    const { isLeading } = this;
    if (isLeading) this.#depose();
    this.#leader = undefined;
    this.#actions.dropLock();
    // After the lock: whoever hears it may have it.
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

  /** @param from the tab that said it */
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
      // It was deposed, and does not know.
      if (this.isLeading) this.#actions.say("leads", this.#term);
      return;
    }
    const isNews = this.#leader?.id !== from || this.#leader.term !== term;
    // Two that took it in the same millisecond: one of them.
    if (isNews && term === this.#leader?.term && from < this.#leader.id) return;
    if (isNews && this.isLeading) this.#depose();
    this.#term = term;
    this.#isAsked = false;
    this.#leader = { id: from, term };
    if (isNews) this.#actions.follow(this.#leader);
  }

  /**
   * Somebody looks at this tab: whoever leads must answer until the next call, or loses the lock. Call `forgive` before
   * where this tab itself stood still in between.
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

  /** Whoever leads may answer, but does not serve. */
  usurp(): void {
    if (!this.#isRunning || this.isLeading) return;
    this.#isAsked = false;
    // Until the lock is here it is listened to: it may answer late, and nothing of it may be missed in between.
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
