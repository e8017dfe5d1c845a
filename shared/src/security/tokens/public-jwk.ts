// A public key on its way from auth to the checks of tokens: a JSON Web Key (RFC 7517).
// Guarantees: only EC P-256 for ES256 and RSA of 2048 bits or more for RS256 pass, public parts only; never a symmetric
// key.
import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import type { TokenAlgorithm } from "./token-algorithm.js";
import type { VerificationKey } from "./verify-token.js";

export interface PublicJwk {
  readonly kid: string;
  readonly alg: TokenAlgorithm;
  readonly use: "sig";
  readonly kty: string;
  readonly crv?: string;
  readonly x?: string;
  readonly y?: string;
  readonly n?: string;
  readonly e?: string;
}

const MIN_RSA_BITS = 2048;
const algorithmOfKeyType: ReadonlyMap<string, TokenAlgorithm> = new Map([
  ["EC", "ES256"],
  ["RSA", "RS256"],
]);

/**
 * @param publicKey EC P-256 or RSA
 * @returns its JWK, named by its RFC 7638 thumbprint, so that a key has the same name wherever it is made
 */
export function toPublicJwk(publicKey: KeyObject): PublicJwk {
  const { kty, crv, x, y, n, e } = publicKey.export({ format: "jwk" });
  if (kty === "EC" && crv === "P-256" && x !== undefined && y !== undefined) {
    // The thumbprint covers the required members in this order.
    return { kid: thumbprint({ crv, kty, x, y }), alg: "ES256", use: "sig", kty, crv, x, y };
  }
  if (kty === "RSA" && n !== undefined && e !== undefined) {
    return { kid: thumbprint({ e, kty, n }), alg: "RS256", use: "sig", kty, n, e };
  }
  throw new Error(`a signing key must be EC P-256 or RSA, not ${kty ?? "unknown"} ${crv ?? ""}`);
}

function thumbprint(members: Readonly<Record<string, string>>): string {
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}

/**
 * Reads one entry of a JWK set.
 * @throws Error saying why the key is not accepted
 */
export function readPublicJwk(entry: unknown): VerificationKey {
  if (typeof entry !== "object" || entry === null) throw new Error("a key is not an object");
  const { kid, kty, alg, use, key_ops, crv, d, k, x, y, n, e } = entry as Readonly<Record<string, unknown>>;
  if (typeof kid !== "string" || kid === "" || kid.length > 128) throw new Error("a key has no kid");
  if (d !== undefined || k !== undefined) throw new Error(`the key ${kid} is not public`);
  const expectedAlg = typeof kty === "string" ? algorithmOfKeyType.get(kty) : undefined;
  if (expectedAlg === undefined || (alg !== undefined && alg !== expectedAlg)) {
    throw new Error(`the key ${kid} is for neither ES256 nor RS256`);
  }
  if (use !== undefined && use !== "sig") throw new Error(`the key ${kid} is not for signatures`);
  if (key_ops !== undefined && !(Array.isArray(key_ops) && key_ops.includes("verify"))) {
    throw new Error(`the key ${kid} is not for checking signatures`);
  }
  if (expectedAlg === "ES256" && crv !== "P-256") throw new Error(`the key ${kid} is not on P-256`);
  const members = expectedAlg === "ES256" ? { kty, crv, x, y } : { kty, n, e };
  const key = createPublicKey({ key: members as JsonWebKey, format: "jwk" });
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < MIN_RSA_BITS) throw new Error(`the key ${kid} has only ${bits} bits`);
  return { kid, alg: expectedAlg, key };
}
