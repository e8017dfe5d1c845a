// First step of a signed request. Before its body is read: is this a known key with an acceptable time? Once the body
// is there: is the request unchanged, and not a replay?
// Guarantees: an unknown key is compared like a known one. Only a valid signature spends a nonce, and no request passes
// before its nonce is recorded. Timestamps count in whole seconds, 300 either way.
import { suspended } from "./suspended-key.js";
import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Clock } from "../../kernel/clock.js";
import { PetrelError } from "../../kernel/errors.js";
import type { KnownProducerKey, Producer } from "./known-producer-key.js";
import { PRODUCER_KEY_ID_PATTERN } from "./producer-keys.js";
import {
  type Compare,
  EMPTY_BODY_SHA256,
  parseSignatures,
  SIGNATURE_TOLERANCE_SECONDS,
  signatureFits,
  type SignatureHeader,
} from "./request-signature.js";

/**
 * Records a nonce, for longer than its signature stays valid.
 * @returns whether it is new; rejects if the store does not answer
 */
export type SpendNonce = (keyId: string, nonce: string) => Promise<boolean>;

export interface SignatureAuthenticatorOptions {
  readonly findKey: (keyId: string) => KnownProducerKey | undefined | Promise<KnownProducerKey | undefined>;
  /** undefined if this process cannot check signatures; then they are answered with 503. */
  readonly spendNonce: SpendNonce | undefined;
  readonly clock: Clock;
  readonly compare: Compare;
}

/** The part of a request before its body. */
export interface RequestHead {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  /** As in the request line. */
  readonly target: string;
}

/** A signed request whose body is still to come. */
export interface BegunSignature {
  readonly key: KnownProducerKey;
  readonly id: string;
  readonly timestamp: string;
  readonly method: string;
  readonly target: string;
  readonly given: readonly Buffer[];
}

const keyExpression = new RegExp(PRODUCER_KEY_ID_PATTERN);
const idExpression = /^[!-~]{1,128}$/;
const timestampExpression = /^(0|[1-9]\d{0,14})$/;

/** Whether a request has any header of a signature. */
export function isSigned(headers: IncomingHttpHeaders): boolean {
  return (
    headers["petrel-signature"] !== undefined ||
    headers["petrel-key"] !== undefined ||
    headers["petrel-id"] !== undefined ||
    headers["petrel-timestamp"] !== undefined
  );
}

export class SignatureAuthenticator {
  readonly #options: SignatureAuthenticatorOptions;
  readonly #noSecret: KeyObject = createSecretKey(randomBytes(32));

  constructor(options: SignatureAuthenticatorOptions) {
    this.#options = options;
  }

  /**
   * Checks everything that does not need the body, so that a stranger cannot make us read one.
   * @throws PetrelError PETREL_INVALID_REQUEST if there is a bearer credential too; PETREL_SIGNATURE_INVALID if a
   * header is missing or malformed, or the key may not sign; PETREL_SIGNATURE_EXPIRED; PETREL_UNAUTHENTICATED if the
   * key is unknown or revoked; PETREL_UNAVAILABLE if it cannot be checked here or now
   */
  async begin({ headers, method, target }: RequestHead): Promise<BegunSignature> {
    if (headers.authorization !== undefined) {
      throw new PetrelError(
        "PETREL_INVALID_REQUEST",
        "Send one credential: Authorization, or the petrel-* headers of a signature.",
      );
    }
    const keyId = readHeader(headers, "petrel-key", keyExpression, "a key's id");
    const id = readHeader(headers, "petrel-id", idExpression, "1 to 128 visible ASCII characters");
    const timestamp = readHeader(headers, "petrel-timestamp", timestampExpression, "Unix time in seconds");
    const given = parseSignatures(readHeader(headers, "petrel-signature", /./, "v1,<base64>"));
    if (given === undefined) {
      throw invalid("petrel-signature has no v1,<base64 of an HMAC-SHA256>.");
    }
    const { clock, compare } = this.#options;
    const nowSeconds = Math.floor(clock.wallMs() / 1_000);
    if (Math.abs(nowSeconds - Number(timestamp)) > SIGNATURE_TOLERANCE_SECONDS) {
      throw new PetrelError(
        "PETREL_SIGNATURE_EXPIRED",
        `petrel-timestamp is more than ${SIGNATURE_TOLERANCE_SECONDS} seconds from the server's time.`,
        { details: { serverTime: nowSeconds } },
      );
    }
    const key = await this.#options.findKey(keyId);
    if (key === undefined || !key.maySign) {
      const content = { id, timestamp, method, target, bodySha256: EMPTY_BODY_SHA256 };
      signatureFits(content, given, [this.#noSecret], compare);
      throw key === undefined
        ? new PetrelError("PETREL_UNAUTHENTICATED", "The key is unknown or revoked.")
        : invalid("This key cannot sign: make one with signing, or send Authorization.");
    }
    if (this.#options.spendNonce === undefined || key.goodHmacKeys(clock.wallMs()).length === 0) {
      throw new PetrelError("PETREL_UNAVAILABLE", "Signatures of this key cannot be checked at the moment.");
    }
    return { key, id, timestamp, method, target, given };
  }

  /**
   * @param bodySha256 64 lower-case hex characters, of the bytes as they arrived
   * @throws PetrelError PETREL_SIGNATURE_INVALID if no signature fits, PETREL_SIGNATURE_REPLAYED; PETREL_UNAVAILABLE if
   * the nonce cannot be recorded
   */
  async finish(begun: BegunSignature, bodySha256: string): Promise<Producer> {
    const { key, id, timestamp, method, target, given } = begun;
    const { clock, compare, spendNonce } = this.#options;
    const content = { id, timestamp, method, target, bodySha256 };
    if (!signatureFits(content, given, key.goodHmacKeys(clock.wallMs()), compare)) {
      throw invalid("The signature does not fit the request as it arrived.");
    }
    // Only whoever has the secret learns this.
    if (key.isSuspended) throw suspended();
    if (spendNonce === undefined || !(await this.#spend(spendNonce, key.producer.keyId, id))) {
      throw new PetrelError(
        "PETREL_SIGNATURE_REPLAYED",
        "A request with this petrel-id came before: sign again with a new one.",
      );
    }
    return key.producer;
  }

  /** Only now: a stranger must not be able to use up nonces, or the memory they take. */
  async #spend(spendNonce: SpendNonce, keyId: string, id: string): Promise<boolean> {
    try {
      return await spendNonce(keyId, id);
    } catch (error) {
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        "The signature cannot be checked at the moment: sign and send again.",
        {
          cause: error,
        },
      );
    }
  }
}

function readHeader(
  headers: IncomingHttpHeaders,
  name: SignatureHeader,
  form: RegExp,
  described: string,
): string {
  const value = headers[name];
  if (value === undefined || value === "") throw invalid(`${name} is missing.`);
  if (typeof value !== "string" || !form.test(value)) throw invalid(`${name} must be ${described}.`);
  return value;
}

function invalid(message: string): PetrelError {
  return new PetrelError("PETREL_SIGNATURE_INVALID", message);
}
