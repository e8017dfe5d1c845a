// verify-token -> here: tokens whose signature was checked before, so that a returning crowd costs no second check.
// Guarantees: keeps only valid tokens, by the digest of their whole text, never the text itself; bounded in number and
// bytes, the least recently used goes first. The caller says which key is the issuer's now: a token that was checked
// with another one is not found.
import { hash } from "node:crypto";
import type { VerifiedToken } from "./verified-token.js";

export interface VerifiedTokenCacheBounds {
  readonly maxTokens: number;
  /** An estimate of their memory; 0: nothing is kept. */
  readonly maxBytes: number;
}

interface Entry<Issuer, Key> {
  readonly issuer: Issuer;
  readonly kid: string;
  readonly key: Key;
  readonly verified: VerifiedToken;
  readonly bytes: number;
}

export type RememberedToken<Issuer, Key> = Omit<Entry<Issuer, Key>, "bytes">;

/** A digest, an entry, the claims that every token has, and their places in the map. */
const BYTES_PER_TOKEN = 700;

/** `Issuer` and `Key` are compared by identity: a key that was replaced is another one. */
export class VerifiedTokenCache<Issuer, Key> {
  /** Checks that it saved, and those that it did not: callers increment them. */
  hits = 0;
  misses = 0;
  readonly #bounds: VerifiedTokenCacheBounds;
  /** By digest, the least recently used first. */
  readonly #entries = new Map<string, Entry<Issuer, Key>>();
  #bytes = 0;

  constructor(bounds: VerifiedTokenCacheBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The digest under which `find` and `keep` know a token. */
  digestOf(token: string): string {
    return hash("sha256", token, "base64url");
  }

  /** The caller must check its key and its time. */
  find(digest: string): RememberedToken<Issuer, Key> | undefined {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    this.#entries.delete(digest);
    this.#entries.set(digest, entry);
    return entry;
  }

  /** It was found, but is no longer valid. */
  drop(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry !== undefined) this.#remove(digest, entry);
  }

  /** @param length of the token's text: its claims take some multiple of it */
  keep(digest: string, length: number, remembered: RememberedToken<Issuer, Key>): void {
    const { maxTokens, maxBytes } = this.#bounds;
    const known = this.#entries.get(digest);
    if (known !== undefined) this.#remove(digest, known);
    const bytes = BYTES_PER_TOKEN + length;
    if (bytes > maxBytes || maxTokens < 1) return;
    this.#entries.set(digest, { ...remembered, bytes });
    this.#bytes += bytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= maxTokens && this.#bytes <= maxBytes) break;
      this.#remove(oldest, entry);
    }
  }

  #remove(digest: string, { bytes }: Entry<Issuer, Key>): void {
    this.#entries.delete(digest);
    this.#bytes -= bytes;
  }
}
