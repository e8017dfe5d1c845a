// redis/{token-revocations, connect-routes} -> here: whether a token was revoked under a name that the previous release
// gave it.
// Guarantees: costs nothing for a token with a `jti`, as nearly all have.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface FormerlyNamed {
  readonly userId: string;
  readonly generation: number;
  /** As in VerifiedToken. */
  readonly formerNames?: readonly string[] | undefined;
}

/** @throws what ioredis throws if Redis does not answer */
export async function isRevokedByFormerName(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { userId, generation, formerNames = [] }: FormerlyNamed,
): Promise<boolean> {
  if (formerNames.length === 0) return false;
  const answers = await Promise.all(
    formerNames.map((name) =>
      scripts.run(
        "check-token.v1",
        [keys.tokenGeneration(userId), keys.revokedSession(userId, ""), keys.revokedToken(name)],
        [generation],
      ),
    ),
  );
  return answers.some((answer) => answer !== "good");
}
