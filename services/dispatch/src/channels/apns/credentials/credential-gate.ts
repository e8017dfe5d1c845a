// send-to-device -> here: whether anything may be sent with a credential, in an environment.
// Guarantees: once Apple has refused the key or the certificate, nothing goes out with it, except for one request after a
// long while to see whether it is mended. Where it was good for another topic just before, only the refused topic halts.
// After too many provider tokens it rests for as long as Apple wants.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface CredentialGateOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How long to leave it alone before one request may look, ms. */
  readonly haltMs: number;
  /** Halted, or good again. */
  readonly onChange: (isHalted: boolean, reason: string) => void;
  /** A rest begins; not where one goes on for longer. */
  readonly onRest: (forMs: number) => void;
}

export type Passage =
  | { readonly passage: "open" }
  | { readonly passage: "halted"; readonly reason: string }
  | { readonly passage: "resting"; readonly forMs: number };

interface Halt {
  readonly reason: string;
  lookAtMs: number;
}

interface Taken {
  readonly topic: string;
  readonly atMs: number;
}

/** Topics come from clients. Beyond so many the oldest may look early. */
const MAX_HALTED_TOPICS = 1_000;

export class CredentialGate {
  readonly #options: CredentialGateOptions;
  #halted: Halt | undefined;
  readonly #haltedTopics = new Map<string, Halt>();
  /** The last request that Apple took, and the last one for any other topic: so every topic has one to compare with. */
  #lastTaken: Taken | undefined;
  #otherTaken: Taken | undefined;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: CredentialGateOptions) {
    this.#options = options;
  }

  /** Whether it is for every topic. */
  get isHalted(): boolean {
    return this.#halted !== undefined;
  }

  /** Topics that are halted alone. */
  get haltedTopics(): number {
    return this.#haltedTopics.size;
  }

  get isResting(): boolean {
    return this.#options.clock.monotonicMs() < this.#restsUntilMs;
  }

  /** Asked before each request. When a halt is over, one request passes to look. */
  pass(topic: string): Passage {
    const { clock, haltMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const halts = [this.#halted, this.#haltedTopics.get(topic)].filter((halt) => halt !== undefined);
    const closed = halts.find(({ lookAtMs }) => nowMs < lookAtMs);
    if (closed !== undefined) return { passage: "halted", reason: closed.reason };
    // Until it is answered the others wait. If it never is, the next one looks after another such while.
    for (const halt of halts) halt.lookAtMs = nowMs + haltMs;
    if (halts.length > 0) return { passage: "open" };
    if (nowMs < this.#restsUntilMs) return { passage: "resting", forMs: this.#restsUntilMs - nowMs };
    return { passage: "open" };
  }

  /**
   * Apple has refused the key or the certificate.
   * @returns "topic" where this topic is halted alone, since now; "all" where every topic is, or nothing is new
   */
  halt(topic: string, reason: string): "topic" | "all" {
    const { clock, haltMs, onChange } = this.#options;
    const nowMs = clock.monotonicMs();
    const halt = { reason, lookAtMs: nowMs + haltMs };
    // A topic that is refused again says nothing new about the others.
    const isKnown = this.#haltedTopics.delete(topic);
    const isAlone = isKnown || this.#isGoodForOthers(topic, nowMs);
    this.#forgetTaken(topic);
    if (isAlone) {
      this.#haltedTopics.set(topic, halt);
      const [oldest] = this.#haltedTopics.keys();
      if (this.#haltedTopics.size > MAX_HALTED_TOPICS && oldest !== undefined)
        this.#haltedTopics.delete(oldest);
      if (!isKnown) return "topic";
    } else {
      const wasHalted = this.isHalted;
      this.#halted = halt;
      if (!wasHalted) onChange(true, reason);
    }
    return "all";
  }

  /** Apple has taken a request: the credential is good for this topic. */
  take(topic: string): void {
    const taken = { topic, atMs: this.#options.clock.monotonicMs() };
    if (this.#lastTaken?.topic !== topic) this.#otherTaken = this.#lastTaken;
    this.#lastTaken = taken;
    this.accept(topic);
  }

  /** Apple has answered something that it says only to those whom it knows. */
  accept(topic: string): void {
    this.#haltedTopics.delete(topic);
    if (this.#halted === undefined) return;
    const { reason } = this.#halted;
    this.#halted = undefined;
    this.#options.onChange(false, reason);
  }

  #isGoodForOthers(topic: string, nowMs: number): boolean {
    const taken = this.#lastTaken?.topic === topic ? this.#otherTaken : this.#lastTaken;
    return taken !== undefined && nowMs - taken.atMs <= this.#options.haltMs;
  }

  /** What was taken before a refusal proves nothing any more: a key that was withdrawn halts all topics at once. */
  #forgetTaken(topic: string): void {
    if (this.#lastTaken?.topic === topic) {
      this.#lastTaken = this.#otherTaken;
      this.#otherTaken = undefined;
    } else if (this.#otherTaken?.topic === topic) this.#otherTaken = undefined;
  }

  rest(forMs: number): void {
    const wasResting = this.isResting;
    this.#restsUntilMs = Math.max(this.#restsUntilMs, this.#options.clock.monotonicMs() + forMs);
    if (!wasResting) this.#options.onRest(forMs);
  }
}
