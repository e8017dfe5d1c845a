// The APNs simulator: the provider keys that its "developer accounts" have registered.
// Guarantees: each is an EC P-256 public key with its key id and team id; otherwise the start fails and says which is
// not.
import { createPublicKey, type KeyObject } from "node:crypto";
import { ConfigError } from "@petrel/shared/kernel/config";

export type ApnsEnvironment = "production" | "sandbox";

export interface KnownKey {
  readonly keyId: string;
  readonly teamId: string;
  readonly publicKey: KeyObject;
  /** Where it may be used; undefined: in both. */
  readonly environment: ApnsEnvironment | undefined;
}

/** Both are ten characters at Apple. */
const idPattern = /^[A-Z0-9]{10}$/;

/**
 * @param text JSON: `[{ keyId, teamId, publicKey (PEM), environment? }]`
 * @throws ConfigError
 */
export function parseKnownKeys(text: string): ReadonlyMap<string, KnownKey> {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new ConfigError("the file with provider keys is not JSON", { cause: error });
  }
  if (!Array.isArray(list)) throw new ConfigError("the file with provider keys is not a list");
  const keys = list.map((entry, i) => parseKey(entry, i));
  return new Map(keys.map((key) => [key.keyId, key]));
}

function parseKey(entry: unknown, place: number): KnownKey {
  const { keyId, teamId, publicKey, environment } = (entry ?? {}) as Readonly<Record<string, unknown>>;
  const wrong = (what: string, cause?: unknown): ConfigError =>
    new ConfigError(`provider key ${place + 1}: ${what}`, { cause });
  if (typeof keyId !== "string" || !idPattern.test(keyId)) throw wrong("keyId is not ten of A–Z, 0–9");
  if (typeof teamId !== "string" || !idPattern.test(teamId)) throw wrong("teamId is not ten of A–Z, 0–9");
  if (environment !== undefined && environment !== "production" && environment !== "sandbox") {
    throw wrong("environment is neither production nor sandbox");
  }
  let key: KeyObject;
  try {
    key = createPublicKey(String(publicKey));
  } catch (error) {
    throw wrong("publicKey is not a PEM key", error);
  }
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw wrong("publicKey is not EC P-256");
  return { keyId, teamId, publicKey: key, environment };
}
