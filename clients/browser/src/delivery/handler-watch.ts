// client, topics -> here -> the application's handlers: runs them, and reports those that fail or do not finish.
// Guarantees: never rejects. A failing handler is reported once and counts as done. A slow one is reported once, and
// awaited.
import { clientErrorCodes, describeFailure, PetrelClientError } from "../client-error.js";

/** The message being handled, in words for people. */
export interface Handled {
  /** Such as "message 5". */
  readonly what: string;
  readonly messageId?: string | undefined;
  /** What has to wait for it. */
  readonly meanwhile: string;
}

export class HandlerWatch {
  readonly #warningMs: number;
  readonly #report: (event: "error" | "warning", error: PetrelClientError) => void;

  constructor(warningMs: number, report: (event: "error" | "warning", error: PetrelClientError) => void) {
    this.#warningMs = warningMs;
    this.#report = report;
  }

  /** @param call resolves with the errors of those that failed */
  async run(handled: Handled, call: () => Promise<readonly unknown[]>): Promise<void> {
    const { what, messageId } = handled;
    const timer = setTimeout(() => this.#isSlow(handled), this.#warningMs);
    const failures = await call();
    clearTimeout(timer);
    for (const cause of failures) {
      const whose = messageId === undefined ? `A handler of ${what}` : "A message handler";
      const text = `${whose} failed: ${describeFailure(cause)}`;
      const options = { retryable: false, cause, messageId };
      this.#report("error", new PetrelClientError(clientErrorCodes.handlerFailed, text, options));
    }
  }

  #isSlow({ what, messageId, meanwhile }: Handled): void {
    const text = `The handlers of ${what} have not finished after ${this.#warningMs} ms: until they do, ${meanwhile}.`;
    const options = { retryable: true, messageId };
    this.#report("warning", new PetrelClientError(clientErrorCodes.handlerSlow, text, options));
  }
}

/** Calls one handler and waits for it. @returns its error, if it fails */
export async function failuresOf(handler: () => unknown): Promise<readonly unknown[]> {
  try {
    await handler();
    return [];
  } catch (error) {
    return [error];
  }
}
