// start-auth -> here -> take-over-key-file: restores keys of the key file that Redis has lost, without a restart.
// Guarantees: writes only what is missing; an existing key stays as it is, also if rotated or revoked. Never rejects.
import { describeError } from "@petrel/shared/kernel/errors";
import { createRareLog } from "@petrel/shared/kernel/logging/rare-log";
import { Loop } from "@petrel/shared/kernel/loop";
import type { FileKey } from "./read-producer-keys-file.js";
import { takeOverKeyFile, type TakeOverKeyFileDeps } from "./take-over-key-file.js";

const FAILURE_LOG_MS = 60_000;

/** @returns a loop that looks for missing keys at this interval */
export function restoreFileKeys(
  keys: readonly FileKey[],
  deps: TakeOverKeyFileDeps,
  intervalMs: number,
): Loop {
  const { producerKeys, logger } = deps;
  const failures = createRareLog(logger, FAILURE_LOG_MS);
  return new Loop(async () => {
    try {
      const missing: FileKey[] = [];
      for (const key of keys) if ((await producerKeys.find(key.id)) === undefined) missing.push(key);
      await takeOverKeyFile(missing, deps);
      if (missing.length > 0)
        logger.warn({ keys: missing.length }, "Redis had lost keys of the key file: restored");
    } catch (error) {
      failures.warn(`keys of the key file not checked: ${describeError(error)}`);
    }
    return intervalMs;
  });
}
