// How a signing key looks in answers.
// Guarantees: no shape here has a place for a private part, sealed or not.
import { type SigningKeyRecord, signingKeyStates } from "@petrel/shared/redis/auth/signing-keys-store";
import { tokenAlgorithms } from "@petrel/shared/security/tokens/token-algorithm";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

const timeSchema = (description: string) => Type.String({ format: "date-time", description });

export const signingKeySchema = Type.Object(
  {
    kid: Type.String(),
    alg: Type.Enum([...tokenAlgorithms]),
    state: Type.Enum([...signingKeyStates], {
      description:
        "upcoming: published, not signing yet; retired: published, no longer signing; withdrawn: neither.",
    }),
    createdAt: timeSchema("RFC 3339, UTC."),
    activeFrom: Type.Optional(timeSchema("When it starts or started to sign.")),
    retiredAt: Type.Optional(timeSchema("When it stopped signing.")),
    publishedUntil: Type.Optional(timeSchema("retired: when it leaves the JWK set.")),
  },
  { title: "SigningKey", additionalProperties: false },
);

interface Times {
  readonly leadMs: number;
  readonly keepRetiredMs: number;
}

export function viewSigningKey(key: SigningKeyRecord, { leadMs, keepRetiredMs }: Times) {
  const { kid, alg, state, createdAtMs, retiredAtMs } = key;
  const activeFromMs = state === "upcoming" ? createdAtMs + leadMs : key.activatedAtMs;
  const publishedUntilMs =
    state === "retired" && retiredAtMs !== undefined ? retiredAtMs + keepRetiredMs : undefined;
  return {
    kid,
    alg,
    state,
    createdAt: rfc3339(createdAtMs),
    ...(activeFromMs === undefined ? {} : { activeFrom: rfc3339(activeFromMs) }),
    ...(retiredAtMs === undefined ? {} : { retiredAt: rfc3339(retiredAtMs) }),
    ...(publishedUntilMs === undefined ? {} : { publishedUntil: rfc3339(publishedUntilMs) }),
  };
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}
