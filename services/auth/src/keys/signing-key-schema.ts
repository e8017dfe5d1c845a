// How a signing key looks in answers.
// Guarantees: no shape here can hold a private part, sealed or not.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
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
    createdAt: formatTime(createdAtMs),
    ...(activeFromMs === undefined ? {} : { activeFrom: formatTime(activeFromMs) }),
    ...(retiredAtMs === undefined ? {} : { retiredAt: formatTime(retiredAtMs) }),
    ...(publishedUntilMs === undefined ? {} : { publishedUntil: formatTime(publishedUntilMs) }),
  };
}
