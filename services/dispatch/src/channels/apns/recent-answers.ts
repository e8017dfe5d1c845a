// device-breaker -> here: Apple's last answers for an app, and whether they are a spike of bad tokens.
// Guarantees: bounded. Keeps few answers, so that a spike shows at once, however much went well before.

interface Answer {
  readonly atMs: number;
  /** The user whose token was called bad; undefined if Apple recognised it. */
  readonly badUser: string | undefined;
}

export interface SpikeRules {
  /** Older answers do not count. */
  readonly sinceMs: number;
  /** A spike needs at least this many users whose token was called bad… */
  readonly minUsers: number;
  /** …and at least this share of the answers. */
  readonly minShare: number;
}

const MAX_ANSWERS = 40;

export class RecentAnswers {
  /** Oldest first. */
  readonly #answers: Answer[] = [];

  note(atMs: number, badUser: string | undefined): void {
    this.#answers.push({ atMs, badUser });
    if (this.#answers.length > MAX_ANSWERS) this.#answers.shift();
  }

  clear(): void {
    this.#answers.length = 0;
  }

  isSpike({ sinceMs, minUsers, minShare }: SpikeRules): boolean {
    const recent = this.#answers.filter(({ atMs }) => atMs > sinceMs);
    const bad = recent.flatMap(({ badUser }) => badUser ?? []);
    return new Set(bad).size >= minUsers && bad.length / recent.length >= minShare;
  }
}
