// routes/create-key, routes/rotate-key -> here: a write that must not be left in doubt.
// Guarantees: sent again only where its answer is missing, the very same, and not for longer than a caller waits.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";

const PAUSES_MS = [50, 200, 500] as const;

/**
 * A new secret that was stored, but whose answer was lost, is known to nobody: so this asks again before it gives up.
 * @param write harmless where it runs twice
 * @throws PetrelError PETREL_UNAVAILABLE where no attempt was answered: it may have been done or not
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
