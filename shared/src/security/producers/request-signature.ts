// A producer's signed request: the signed text, the header that carries the signature, and whether it fits.
// Guarantees: the text covers the request as it went over the wire, its body's bytes included; a signature fits only in
// its one canonical spelling, to the last bit; comparing takes the same time wherever the difference is.
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";

/** The headers of a signed request; none of them may accompany `Authorization`. */
export type SignatureHeader = "petrel-key" | "petrel-id" | "petrel-timestamp" | "petrel-signature";

/** How far a signature's time may differ from ours, either way. */
export const SIGNATURE_TOLERANCE_SECONDS = 300;

/** SHA-256 of zero bytes: for a request without a body. */
export const EMPTY_BODY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** What a signature covers, each as in the request. */
export interface SignedContent {
  /** The nonce: visible ASCII, at most 128 characters. */
  readonly id: string;
  /** Unix time in whole seconds, as text. */
  readonly timestamp: string;
  /** Upper case. */
  readonly method: string;
  /** The request target of the request line (RFC 9112 3.2), with its query. */
  readonly target: string;
  /** 64 lower-case hex characters, of the bytes as sent: still compressed. */
  readonly bodySha256: string;
}

export type Compare = (a: Buffer, b: Buffer) => boolean;

const VERSION = "v1,";
/** An HMAC-SHA256 as base64, with padding. */
const SIGNATURE_LENGTH = 44;
const MAX_HEADER_LENGTH = 4_096;

/** The text that is signed. */
export function textToSign({ id, timestamp, method, target, bodySha256 }: SignedContent): string {
  return `${id}\n${timestamp}\n${method}\n${target}\n${bodySha256}`;
}

/**
 * @param secret a producer's secret, as text (its UTF-8 bytes are the key), or a key of these bytes
 * @returns the base64 of an HMAC-SHA256, without the `v1,` prefix
 */
export function signRequest(content: SignedContent, secret: string | KeyObject): string {
  // Node reads a request's head as Latin-1, so these are the bytes as they came.
  return createHmac("sha256", secret).update(textToSign(content), "latin1").digest("base64");
}

/**
 * Reads `petrel-signature`: entries separated by spaces, each `version,value`. Unknown versions are skipped, as are
 * entries of ours that are no HMAC-SHA256.
 * @returns the base64 texts, or undefined if none could fit
 */
export function parseSignatures(header: string): readonly Buffer[] | undefined {
  if (header.length > MAX_HEADER_LENGTH) return undefined;
  const found = header
    .split(" ")
    .filter((entry) => entry.startsWith(VERSION))
    .map((entry) => Buffer.from(entry.slice(VERSION.length), "latin1"))
    .filter(({ length }) => length === SIGNATURE_LENGTH);
  return found.length === 0 ? undefined : found;
}

/**
 * @param given as from `parseSignatures`
 * @param compare only tests pass another
 * @returns whether any of them is what one of the secrets makes of the content; all are compared
 */
export function signatureFits(
  content: SignedContent,
  given: readonly Buffer[],
  secrets: readonly KeyObject[],
  compare: Compare = timingSafeEqual,
): boolean {
  let fits = false;
  for (const secret of secrets) {
    // As text: base64 can spell the same bytes in several ways, and only one of them is accepted.
    const expected = Buffer.from(signRequest(content, secret), "latin1");
    for (const one of given) if (compare(one, expected)) fits = true;
  }
  return fits;
}
