// verify-token, introspect-token -> here: the name under which a token without a `jti` is revoked.
// Guarantees: derived from the signed text, so that all valid spellings of a token have one name, and only the issuer's
// key can make a valid token with another name. The names of the last release are known too: what it revoked stays
// revoked.
// The signature is not part of the name: base64url leaves bits of its last character unused, and the holder of an ES256
// signature (r, s) can write (r, n - s), which is equally valid. High values of s are accepted nevertheless: half of
// all signatures that libraries make have one, and RFC 7515 does not require low ones.
import { hash } from "node:crypto";

/** The order of P-256 (FIPS 186-5). */
const P256_ORDER = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
const ES256_SIGNATURE_BYTES = 64;

/** @param token a compact JWS whose signature is good */
export function nameOfToken(token: string): string {
  return nameOf(token.slice(0, token.lastIndexOf(".")));
}

/** The names that the last release gave it, by its whole text: as it arrived, and with the other valid signature. */
export function formerNamesOf(token: string): readonly string[] {
  const twin = withOtherSignature(token);
  return Object.freeze(twin === undefined ? [nameOf(token)] : [nameOf(token), nameOf(twin)]);
}

/** Whether it is in an encoder's spelling: base64url can spell the same bytes in several ways (RFC 4648 3.5). */
export function isCanonicalBase64url(text: string): boolean {
  return Buffer.from(text, "base64url").toString("base64url") === text;
}

function nameOf(text: string): string {
  return `sha256.${hash("sha256", text, "base64url")}`;
}

/** Only ES256 has signatures of this length. */
function withOtherSignature(token: string): string | undefined {
  const start = token.lastIndexOf(".") + 1;
  const signature = Buffer.from(token.slice(start), "base64url");
  if (signature.length !== ES256_SIGNATURE_BYTES) return undefined;
  const half = ES256_SIGNATURE_BYTES / 2;
  const s = BigInt(`0x${signature.subarray(half).toString("hex")}`);
  const other = (P256_ORDER - s).toString(16).padStart(2 * half, "0");
  const twin = Buffer.concat([signature.subarray(0, half), Buffer.from(other, "hex")]);
  return token.slice(0, start) + twin.toString("base64url");
}
