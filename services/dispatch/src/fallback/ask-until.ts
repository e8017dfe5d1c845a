// settle-entry, look-before-sending -> here: asks Redis until it answers.
// Guarantees: retries only after a lost connection; any other fault is thrown.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";

const ASK_AGAIN = { baseMs: 50, capMs: 1_000 } as const;

/** @returns undefined if it had to be given up without an answer */
export async function askUntil<T>(
  ask: () => Promise<T>,
  goesOn: () => boolean,
): Promise<{ readonly answer: T } | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      return { answer: await ask() };
    } catch (error) {
      if (!isConnectionError(error)) throw new Error(describeError(error), { cause: error });
    }
    await pause(10 + backoffMs(attempt, ASK_AGAIN));
    if (!goesOn()) return undefined;
  }
}
