// Tests only: tokens signed by hand, because a library would refuse to make most of these.
// Guarantees: each differs from a valid one only in what its caller says.
import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { type PublicJwk, toPublicJwk } from "../../security/tokens/public-jwk.js";

export interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  readonly jwk: PublicJwk;
}

export type Parts = Readonly<Record<string, unknown>>;

export function makePair(kind: "ec" | "rsa"): Pair {
  const pair =
    kind === "ec"
      ? generateKeyPairSync("ec", { namedCurve: "P-256" })
      : generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...pair, jwk: toPublicJwk(pair.publicKey) };
}

export const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

export function without(parts: Parts): Parts {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined));
}

/** Signed by hand, because a library would refuse to make most of these. */
export async function signBy(key: KeyObject | string, header: Parts, claims: Parts): Promise<string> {
  const input = `${base64url(without(header))}.${base64url(without(claims))}`;
  if (typeof key === "string") {
    return `${input}.${createHmac("sha256", key).update(input).digest("base64url")}`;
  }
  const signature = sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" });
  return `${input}.${signature.toString("base64url")}`;
}

/** With n - s instead of s: valid under the same key, and anybody can make it. */
export function otherSignature(token: string): string {
  const start = token.lastIndexOf(".") + 1;
  const bytes = Buffer.from(token.slice(start), "base64url");
  const order = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  const s = BigInt(`0x${bytes.subarray(32).toString("hex")}`);
  bytes.write((order - s).toString(16).padStart(64, "0"), 32, "hex");
  return token.slice(0, start) + bytes.toString("base64url");
}

/** The same bytes, with other values in the bits that base64url leaves unused. */
export function otherSpellings(token: string): string[] {
  const bytes = (text: string): Buffer => Buffer.from(text.slice(text.lastIndexOf(".") + 1), "base64url");
  return Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    .map((last) => token.slice(0, -1) + last)
    .filter((one) => one !== token && bytes(one).equals(bytes(token)));
}
