// topic-consumer -> here -> the application's getState: a topic's state, and the position that it belongs to.
// Guarantees: one question at a time. After a failure, which is reported, the next one waits, longer each time.
import { clientErrorCodes, describeFailure, PetrelClientError } from "../client-error.js";
import type { ClientTiming } from "../client-timing.js";
import { longJitterMs } from "../connection/backoff.js";
import { within } from "../deadline.js";
import { isStartPosition, type GivenState, type StartPosition } from "./topic-options.js";

export interface AskedStateOptions {
  readonly topic: string;
  readonly getState: (() => unknown) | undefined;
  readonly timing: Pick<ClientTiming, "stateTimeoutMs">;
  readonly report: (error: PetrelClientError) => void;
  /** Called before the state counts as given. */
  readonly onGiven: (position: StartPosition) => void;
  /** A question has ended, well or not. */
  readonly changed: () => void;
}

const BACKOFF = { baseMs: 500, capMs: 30_000 };

export class AskedState {
  readonly #options: AskedStateOptions;
  #given: GivenState<unknown> | undefined;
  #tries = 0;
  #isAsking = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: AskedStateOptions) {
    this.#options = options;
  }

  /** Not used yet. */
  get given(): GivenState<unknown> | undefined {
    return this.#given;
  }

  /** Does nothing if there is no `getState`, or it is being asked already. */
  ask(): void {
    const { getState } = this.#options;
    if (getState === undefined || this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask(getState);
  }

  /** It is used now. */
  take(): GivenState<unknown> | undefined {
    const given = this.#given;
    this.#given = undefined;
    this.#tries = 0;
    return given;
  }

  forget(): void {
    this.#given = undefined;
  }

  failed(cause: unknown): void {
    const { topic, report } = this.#options;
    const text = `${topic}: getState failed: ${describeFailure(cause)}`;
    if (this.#isClosed) return;
    report(new PetrelClientError(clientErrorCodes.stateFailed, text, { retryable: true, cause, topic }));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #ask(getState: () => unknown): Promise<void> {
    const { timing, onGiven, changed } = this.#options;
    const tries = this.#tries++;
    if (tries > 0) {
      await new Promise<void>((resolve) => {
        this.#timer = setTimeout(resolve, longJitterMs(tries - 1, BACKOFF));
      });
    }
    try {
      const answer = await within(Promise.resolve().then(getState), timing.stateTimeoutMs);
      const { state, position } = (answer ?? {}) as Partial<GivenState<unknown>>;
      if (!isStartPosition(position)) throw new TypeError("no position beside the state");
      onGiven(position);
      this.#given = { state, position };
    } catch (cause) {
      this.failed(cause);
    }
    this.#isAsking = false;
    changed();
  }
}
