// auth's routes/rotate-key -> here -> producers/rotate-producer-key.lua: a producer key gets a new secret.
// Guarantees: of rotations at the same time none is lost: where they overlap, each secret that was given out is good; may
// be sent again with the same secret; a revoked key stays revoked.
import { authKeys } from "../auth/auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface NewProducerSecret {
  /** 64 lower-case hex characters. */
  readonly secretSha256: string;
  /** Kept only where the key may sign. */
  readonly sealedSecret: string;
  /** How long the secret before stays good. 0 ends it, and all that are still good from earlier rotations, at once. */
  readonly overlapMs: number;
  readonly rotatedAt: Date;
}

/** Of one key, beside its present secret. */
const MAX_FORMER = 4;

/** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer: it may have been done or not */
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
