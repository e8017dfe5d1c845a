// topic-stream -> here: the one request about a topic that is not answered yet.
// Guarantees: an unanswered request ends after some time; then a late answer may still come, so the next one is doubtful.
// After a refusal for now, the next request waits, longer each time.
import { longJitterMs } from "../connection/backoff.js";
import type { TopicPosition } from "../frames.js";

export type Question =
  | {
      readonly type: "subscribe";
      readonly given: TopicPosition | undefined;
      readonly presence: boolean;
      /** No other answer can be on its way. */
      readonly isAlone: boolean;
    }
  | { readonly type: "unsubscribe" };

const RETRY = { baseMs: 1_000, capMs: 30_000 };

export class TopicQuestion {
  readonly #answerTimeoutMs: number;
  readonly #changed: () => void;
  #asked: Question | undefined;
  #isDoubtful = false;
  #isAlone = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #retries = 0;
  #isWaiting = false;

  /** @param changed another request may be sent */
  constructor(answerTimeoutMs: number, changed: () => void) {
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#changed = changed;
  }

  get asked(): Question | undefined {
    return this.#asked;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  get mayAsk(): boolean {
    return this.#asked === undefined && !this.#isWaiting;
  }

  /** An answer may still be on its way that would be mistaken for the answer to the next request. */
  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  doubt(): void {
    this.#isDoubtful = true;
  }

  subscribe(given: TopicPosition | undefined, presence: boolean): void {
    this.ask({ type: "subscribe", given, presence, isAlone: this.#isAlone });
    this.#isAlone = false;
  }

  ask(question: Question): void {
    this.#asked = question;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#asked = undefined;
      this.#isDoubtful = true;
      this.#changed();
    }, this.#answerTimeoutMs);
  }

  /** It has an answer, of whatever kind. */
  settled(): void {
    this.#asked = undefined;
    clearTimeout(this.#timer);
  }

  /** It was granted. */
  answered(): void {
    this.settled();
    this.#retries = 0;
  }

  /** This answer comes after all others. */
  allAnswered(): void {
    this.#isDoubtful = false;
    this.#isAlone = true;
  }

  /** The server asks to come back later. */
  wait(): void {
    this.#isWaiting = true;
    this.#timer = setTimeout(
      () => {
        this.#isWaiting = false;
        this.#changed();
      },
      longJitterMs(this.#retries++, RETRY),
    );
  }

  /** Another connection: nothing that was asked is answered. */
  reset(): void {
    this.settled();
    this.#isAlone = false;
    this.#isWaiting = false;
    this.#isDoubtful = false;
  }
}
