// The local run: the key with which this machine's dispatch pushes, like one from an Apple developer account.
// Guarantees: EC P-256 from the system's random source; key id and team id have Apple's shape.
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomInt } from "node:crypto";

export interface ApnsProviderKey {
  /** Ten of A–Z, 0–9. */
  readonly keyId: string;
  /** Ten of A–Z, 0–9. */
  readonly teamId: string;
  /** PEM, PKCS #8: the format of Apple's AuthKey_<key id>.p8. */
  readonly privateKey: string;
}

const idLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const idPattern = /^[A-Z0-9]{10}$/;

export function makeApnsProviderKey(): ApnsProviderKey {
  const { privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  return { keyId: makeId(), teamId: makeId(), privateKey };
}

export function isApnsProviderKey(value: unknown): value is ApnsProviderKey {
  const { keyId, teamId, privateKey } = (value ?? {}) as Partial<ApnsProviderKey>;
  if (!idPattern.test(keyId ?? "") || !idPattern.test(teamId ?? "")) return false;
  try {
    return createPrivateKey(privateKey ?? "").asymmetricKeyDetails?.namedCurve === "prime256v1";
  } catch {
    return false;
  }
}

/** The simulator's part: `[{ keyId, teamId, publicKey }]` as JSON. */
export function describeKnownKeys({ keyId, teamId, privateKey }: ApnsProviderKey): string {
  const publicKey = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
  return `${JSON.stringify([{ keyId, teamId, publicKey }], null, 2)}\n`;
}

function makeId(): string {
  return Array.from({ length: 10 }, () => idLetters[randomInt(idLetters.length)]).join("");
}
