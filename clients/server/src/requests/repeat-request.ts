// resources, events -> here -> send-request: repeats a request until it is answered, refused for good, or out of time.
// Guarantees: an error after several attempts says "unknown" if any of them may have been carried out.
import { setTimeout as pause } from "node:timers/promises";
import { closedError, PetrelError } from "../petrel-error.js";
import type { Json } from "./read-answer.js";
import { retryDelayMs } from "./retry-delay.js";
import { mayRepeat, sendRequest, type Request, type Requester } from "./send-request.js";

export interface Patience {
  /** For all attempts together. */
  readonly timeoutMs: number;
  /** For each. */
  readonly attemptTimeoutMs: number;
  /** Infinity: as many as there is time for. */
  readonly attempts: number;
}

/**
 * Use it only for requests that may safely be carried out twice.
 * @param ended aborts it
 * @throws PetrelError
 */
export async function repeatRequest(
  requester: Requester,
  request: Request,
  { timeoutMs, attemptTimeoutMs, attempts }: Patience,
  ended: AbortSignal,
): Promise<Json> {
  const deadlineMs = performance.now() + timeoutMs;
  let isUnknown = false;
  for (let attempt = 0; ; attempt++) {
    if (ended.aborted) throw closedError();
    try {
      const leftMs = Math.max(1, Math.ceil(deadlineMs - performance.now()));
      return await sendRequest(requester, request, Math.min(attemptTimeoutMs, leftMs), ended);
    } catch (error) {
      if (!(error instanceof PetrelError)) throw error;
      isUnknown ||= error.outcome === "unknown";
      const last = isUnknown ? error.with({ outcome: "unknown" }) : error;
      const delayMs = retryDelayMs(attempt, error.retryAfterMs);
      if (!mayRepeat(error) || attempt + 1 >= attempts || performance.now() + delayMs >= deadlineMs)
        throw last;
      await pause(delayMs, undefined, { signal: ended }).catch(() => {
        throw last;
      });
    }
  }
}
