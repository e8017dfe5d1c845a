// send-to-browser -> here: identifies the sender to a push service (RFC 8292).
// Guarantees: signed for the push service's origin, and valid for half a day at most when it is sent. One signature per
// hour and origin, because each costs as much as the rest of a push.
import { type KeyObject, createPublicKey, sign } from "node:crypto";
import type { Clock } from "@petrel/shared/kernel/clock";
import { encodeVapidKey } from "@petrel/shared/security/web-push/vapid-key";

export interface VapidOptions {
  /** P-256, private. */
  readonly key: KeyObject;
  /** Whom a push service may contact: mailto: or https:. */
  readonly subject: string;
  readonly clock: Pick<Clock, "wallMs">;
}

/** RFC 8292 allows a day. */
const LIFE_MS = 12 * 60 * 60_000;
const RENEW_MS = 60 * 60_000;
/** There are few origins: only the listed ones. */
const MAX_ORIGINS = 1_000;

export class VapidTokens {
  readonly #options: VapidOptions;
  readonly #publicKey: string;
  readonly #headers = new Map<string, { readonly value: string; readonly madeAtMs: number }>();

  constructor(options: VapidOptions) {
    this.#options = options;
    this.#publicKey = encodeVapidKey(createPublicKey(options.key));
  }

  /** The value of the header Authorization. @param origin of the endpoint */
  authorize(origin: string): string {
    const nowMs = this.#options.clock.wallMs();
    const kept = this.#headers.get(origin);
    // A clock that was set back also leads to a new one.
    if (kept !== undefined && Math.abs(nowMs - kept.madeAtMs) < RENEW_MS) return kept.value;
    const value = `vapid t=${this.#sign(origin, nowMs)}, k=${this.#publicKey}`;
    if (this.#headers.size >= MAX_ORIGINS) this.#headers.clear();
    this.#headers.set(origin, { value, madeAtMs: nowMs });
    return value;
  }

  #sign(origin: string, nowMs: number): string {
    const { key, subject } = this.#options;
    const exp = Math.floor((nowMs + LIFE_MS) / 1_000);
    const text = [
      { typ: "JWT", alg: "ES256" },
      { aud: origin, exp, sub: subject },
    ]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  }
}
