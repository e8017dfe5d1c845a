// batch-sender -> here: the result of each message in a batch.
// Guarantees: an answer that does not match the batch counts as no answer.
import { PetrelError, petrelErrorCodes } from "../petrel-error.js";
import { readError, type Json } from "../requests/read-answer.js";
import type { StoredForUser } from "./message.js";
import type { Answer, QueuedMessage } from "./queued-message.js";

/** One for each message, in order. @throws PetrelError */
export function readResults(answer: Json, batch: readonly QueuedMessage[]): (Answer | PetrelError)[] {
  const { results } = answer;
  if (!Array.isArray(results) || results.length !== batch.length) throw misfit();
  return batch.map((message, i) => readResult(results[i] as Json, message));
}

function readResult(result: Json, { hasOwnKey, idempotencyKey }: QueuedMessage): Answer | PetrelError {
  const { error, results, id, duplicate } = result;
  if (typeof error === "object" && error !== null) {
    const { status } = error as Json;
    return readError(error as Json, typeof status === "number" ? status : 500).with({ idempotencyKey });
  }
  // If the key was generated here, an earlier attempt of this very message stored it.
  const isDuplicate = (one: unknown): boolean => !hasOwnKey && one === true;
  if (Array.isArray(results)) {
    return {
      results: (results as readonly StoredForUser[]).map((one) => ({
        ...one,
        duplicate: isDuplicate(one.duplicate),
      })),
    };
  }
  if (typeof id !== "string") throw misfit();
  return { id, duplicate: isDuplicate(duplicate) };
}

function misfit(): PetrelError {
  return new PetrelError(petrelErrorCodes.badAnswer, "The answer does not fit the batch.", {
    outcome: "unknown",
    retryable: true,
  });
}
