// routes/create-key, routes/rotate-key -> here: a write whose outcome must be known.
// Guarantees: only a write without an answer is repeated, unchanged, for less time than a caller waits.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";

const PAUSES_MS = [50, 200, 500] as const;

/**
 * If a new secret is stored but the answer is lost, nobody knows the secret. So the write is retried first.
 * @param write idempotent
 * @throws PetrelError PETREL_UNAVAILABLE if no attempt was answered; the write may still have happened
 */
export async function repeatUntilAnswered<T>(write: () => Promise<T>): Promise<T> {
  for (const pauseMs of PAUSES_MS) {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof PetrelError) || error.code !== "PETREL_UNAVAILABLE") throw error;
      await pause(pauseMs);
    }
  }
  return write();
}
