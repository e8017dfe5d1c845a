// auth's routes/rotate-key -> here -> producers/rotate-producer-key.lua: gives a producer key a new secret.
// Guarantees: concurrent rotations lose nothing: during the overlap, every secret that was given out is valid. A
// rotation may be repeated with the same secret. A revoked key stays revoked.
import { authKeys } from "../auth/auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface NewProducerSecret {
  /** 64 lower-case hex characters. */
  readonly secretSha256: string;
  /** Stored only if the key may sign. */
  readonly sealedSecret: string;
  /** How long the former secret stays valid. 0 ends it at once, together with those of earlier rotations. */
  readonly overlapMs: number;
  readonly rotatedAt: Date;
}

/** The most former secrets of one key. */
const MAX_FORMER = 4;

/** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer; the rotation may or may not have happened */
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
