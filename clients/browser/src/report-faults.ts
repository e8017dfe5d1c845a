// client, delivery, topics -> here -> the application's `error` and `warning` listeners, or the console.
// Guarantees: a fault of the application's own code is never silent; what no listener takes is an uncaught error.
import { clientErrorCodes, describeFailure, isOfApplication, PetrelClientError } from "./client-error.js";
import type { Debug } from "./debug-log.js";

/** Who listens. */
export interface FaultListeners {
  count(event: "error" | "warning"): number;
  emit(event: "error" | "warning", error: PetrelClientError): void;
}

export class FaultReports {
  readonly #listeners: FaultListeners;
  /** Undefined, too, while a wrong option is complained of. */
  debug: Debug | undefined;

  constructor(listeners: FaultListeners) {
    this.#listeners = listeners;
  }

  report(event: "error" | "warning", error: PetrelClientError): void {
    this.debug?.(event, { code: error.code, message: error.message });
    // A fault of the application must not go unnoticed because nobody listens.
    if (this.#listeners.count(event) > 0 || !isOfApplication(error)) this.#listeners.emit(event, error);
    else if (event === "error") console.error(error);
    else console.warn(error);
  }

  fail(...[code, message, options]: ConstructorParameters<typeof PetrelClientError>): void {
    this.report("error", new PetrelClientError(code, message, options));
  }

  /** Later in this turn, so that listeners added right after the constructor hear of it. */
  complain(problem: string): void {
    queueMicrotask(() => this.fail(clientErrorCodes.badOption, problem, { retryable: true }));
  }

  saveFailed(cause: unknown): void {
    const text = `savePosition failed: ${describeFailure(cause)}`;
    this.fail(clientErrorCodes.savePositionFailed, text, { retryable: true, cause });
  }

  listenerFailed(error: unknown, event: string): void {
    if (event === "error") {
      // Nobody is left to tell, so it becomes an uncaught error of the page or process.
      queueMicrotask(() => {
        throw error;
      });
      return;
    }
    const text = `A listener of "${event}" failed: ${describeFailure(error)}`;
    this.fail(clientErrorCodes.listenerFailed, text, { retryable: false, cause: error });
  }
}
