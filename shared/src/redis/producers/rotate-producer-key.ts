// auth's routes/rotate-key -> here -> producers/rotate-producer-key.lua: gives a producer key a new secret.
// Guarantees: concurrent rotations lose nothing: during the overlap, each secret that was given out is good. A rotation
// may be sent again with the same secret. A revoked key stays revoked.
import { authKeys } from "../auth/auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface NewProducerSecret {
  /** 64 lower-case hex characters. */
  readonly secretSha256: string;
  /** Kept only where the key may sign. */
  readonly sealedSecret: string;
  /** How long the former secret stays good. 0 ends it at once, with all that are still good from earlier rotations. */
  readonly overlapMs: number;
  readonly rotatedAt: Date;
}

/** Former secrets of one key. */
const MAX_FORMER = 4;

/** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer: it may have happened or not */
export async function rotateProducerKey(
  scripts: ScriptRunner,
  id: string,
  { secretSha256, sealedSecret, overlapMs, rotatedAt }: NewProducerSecret,
): Promise<"rotated" | "revoked" | "missing"> {
  const answer = await awaitAnswer(
    scripts.run(
      "rotate-producer-key.v1",
      [authKeys.producerKey(id)],
      [secretSha256, sealedSecret, overlapMs, MAX_FORMER, rotatedAt.toISOString()],
    ),
  );
  return answer as "rotated" | "revoked" | "missing";
}
