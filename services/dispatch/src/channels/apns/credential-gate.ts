// apns-channel -> here: whether anything may be sent with a credential, in an environment.
// Guarantees: once Apple has refused the key or the certificate, nothing goes out with it, but for one request after a
// long while that looks whether it is mended; after too many provider tokens it rests as long as Apple wants.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface CredentialGateOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How long to leave it alone before one request may look, ms. */
  readonly haltMs: number;
  /** Halted, or good again. */
  readonly onChange: (isHalted: boolean, reason: string) => void;
}

export type Passage =
  | { readonly passage: "open" }
  | { readonly passage: "halted"; readonly reason: string }
  | { readonly passage: "resting"; readonly forMs: number };

export class CredentialGate {
  readonly #options: CredentialGateOptions;
  #halted: { readonly reason: string; lookAtMs: number } | undefined;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: CredentialGateOptions) {
    this.#options = options;
  }

  get isHalted(): boolean {
    return this.#halted !== undefined;
  }

  /** Asked before each request; where a halt's time is over, one is let through. */
  pass(): Passage {
    const { clock, haltMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#halted !== undefined) {
      if (nowMs < this.#halted.lookAtMs) return { passage: "halted", reason: this.#halted.reason };
      // Until it is answered the others stay away; where it never is, the next looks a while later.
      this.#halted.lookAtMs = nowMs + haltMs;
      return { passage: "open" };
    }
    if (nowMs < this.#restsUntilMs) return { passage: "resting", forMs: this.#restsUntilMs - nowMs };
    return { passage: "open" };
  }

  /** Apple has refused the key or the certificate. */
  halt(reason: string): void {
    const { clock, haltMs, onChange } = this.#options;
    const wasHalted = this.isHalted;
    this.#halted = { reason, lookAtMs: clock.monotonicMs() + haltMs };
    if (!wasHalted) onChange(true, reason);
  }

  /** Apple has answered something that it says only to those whom it knows. */
  accept(): void {
    if (this.#halted === undefined) return;
    const { reason } = this.#halted;
    this.#halted = undefined;
    this.#options.onChange(false, reason);
  }

  rest(forMs: number): void {
    this.#restsUntilMs = Math.max(this.#restsUntilMs, this.#options.clock.monotonicMs() + forMs);
  }
}
