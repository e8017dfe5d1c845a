// send-to-device -> here: whether anything may be sent with a credential, in one environment.
// Guarantees: once Apple has refused the key or certificate, nothing is sent with it, except one probe request after a
// long while. If it worked for another topic just before, only the refused topic halts. After too many provider tokens
// it rests for as long as Apple demands.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface CredentialGateOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How long to wait before one request may probe, ms. */
  readonly haltMs: number;
  /** Called when everything halts, and when it works again. */
  readonly onChange: (isHalted: boolean, reason: string) => void;
  /** Called when a rest begins, not when it is extended. */
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

/** Topics come from clients. Beyond this number the oldest may be probed early. */
const MAX_HALTED_TOPICS = 1_000;

export class CredentialGate {
  readonly #options: CredentialGateOptions;
  #halted: Halt | undefined;
  readonly #haltedTopics = new Map<string, Halt>();
  /** The last accepted request, and the last one for a different topic, so that every topic has one to compare with. */
  #lastTaken: Taken | undefined;
  #otherTaken: Taken | undefined;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: CredentialGateOptions) {
    this.#options = options;
  }

  /** Whether all topics are halted. */
  get isHalted(): boolean {
    return this.#halted !== undefined;
  }

  /** The number of topics that are halted by themselves. */
  get haltedTopics(): number {
    return this.#haltedTopics.size;
  }

  get isResting(): boolean {
    return this.#options.clock.monotonicMs() < this.#restsUntilMs;
  }

  /** Call it before each request. When a halt is over, one request may pass as a probe. */
  pass(topic: string): Passage {
    const { clock, haltMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const halts = [this.#halted, this.#haltedTopics.get(topic)].filter((halt) => halt !== undefined);
    const closed = halts.find(({ lookAtMs }) => nowMs < lookAtMs);
    if (closed !== undefined) return { passage: "halted", reason: closed.reason };
    // The others wait for its answer. If it never comes, the next one probes after another such while.
    for (const halt of halts) halt.lookAtMs = nowMs + haltMs;
    if (halts.length > 0) return { passage: "open" };
    if (nowMs < this.#restsUntilMs) return { passage: "resting", forMs: this.#restsUntilMs - nowMs };
    return { passage: "open" };
  }

  /**
   * Call it when Apple has refused the key or the certificate.
   * @returns "topic" if this topic alone is halted, since now; "all" if every topic is, or if it was halted before
   */
  halt(topic: string, reason: string): "topic" | "all" {
    const { clock, haltMs, onChange } = this.#options;
    const nowMs = clock.monotonicMs();
    const halt = { reason, lookAtMs: nowMs + haltMs };
    // Another refusal of a halted topic says nothing about the others.
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

  /** Call it when Apple has accepted a request: the credential works for this topic. */
  take(topic: string): void {
    const taken = { topic, atMs: this.#options.clock.monotonicMs() };
    if (this.#lastTaken?.topic !== topic) this.#otherTaken = this.#lastTaken;
    this.#lastTaken = taken;
    this.accept(topic);
  }

  /** Call it when Apple's answer shows that it knows the credential. */
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

  /** A success from before the refusal proves nothing any more: a revoked key must halt all topics at once. */
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
