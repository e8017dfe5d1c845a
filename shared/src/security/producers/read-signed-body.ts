// A signed request's bytes -> here -> authenticate-signature, then read-json-body: buffers and hashes them before they
// are trusted.
// Guarantees: never more than the route accepts. All unchecked requests together hold at most the budget, plus a small
// free share each. A body that trickles in is given up. The bytes are passed on unchanged.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { PetrelError } from "../../kernel/errors.js";
import { type UncheckedBytes, UncheckedShare } from "./unchecked-bytes.js";

const SUSPICION_SECONDS = 10;

export interface SignedBody {
  readonly bytes: Buffer;
  /** 64 lower-case hex characters. */
  readonly sha256: string;
}

export interface ReadSignedBodyOptions {
  /** The route's limit. */
  readonly maxBytes: number;
  readonly budget: UncheckedBytes;
  /** Its share is counted by this. */
  readonly address?: string;
  /** Whether it may exceed the free share. */
  readonly mayBeLarge?: boolean;
  readonly deadlineMs: number;
}

/** Each body's free share, outside the budget: small requests never wait for strangers' large ones. */
export const FREE_BYTES = 64 * 1024;

/**
 * @param payload a stream of bytes, not read yet
 * @throws PetrelError PETREL_PAYLOAD_TOO_LARGE; PETREL_UNAVAILABLE if the budget is used up, or the body gave its share
 * up; PETREL_REQUEST_TIMEOUT if it does not end in time; PETREL_INVALID_REQUEST if the connection ends first;
 * PETREL_RATE_LIMITED if it is larger than it may be. The rest is then left unread
 */
export function readSignedBody(payload: Readable, options: ReadSignedBodyOptions): Promise<SignedBody> {
  const { maxBytes, budget, address = "", mayBeLarge = true, deadlineMs } = options;
  return new Promise((resolve, reject) => {
    const hashing = createHash("sha256");
    const chunks: Buffer[] = [];
    let length = 0;

    const settle = (): void => {
      clearTimeout(timer);
      budget.give(share);
      payload.off("data", onData).off("end", onEnd).off("error", onBroken).off("close", onBroken);
      // The stream may still fail after a refusal; nobody is left to handle that.
      payload.on("error", () => undefined);
    };
    const refuse = (error: PetrelError): void => {
      settle();
      reject(error);
    };
    const share = new UncheckedShare(address, (error) => refuse(error));
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > maxBytes) {
        refuse(new PetrelError("PETREL_PAYLOAD_TOO_LARGE", `The body is larger than ${maxBytes} bytes.`));
        return;
      }
      const needed = Math.max(0, length - FREE_BYTES);
      if (needed > 0 && !mayBeLarge) {
        const message = "Too many failed authentications from here: only small signed bodies are accepted.";
        refuse(new PetrelError("PETREL_RATE_LIMITED", message, { retryAfterSeconds: SUSPICION_SECONDS }));
        return;
      }
      if (needed > 0 && !budget.grow(share, needed)) {
        refuse(new PetrelError("PETREL_UNAVAILABLE", "Too many large signed requests are in progress."));
        return;
      }
      hashing.update(chunk);
      chunks.push(chunk);
    };
    const onEnd = (): void => {
      settle();
      resolve({ bytes: Buffer.concat(chunks, length), sha256: hashing.digest("hex") });
    };
    // bodies-under-way answers a late or broken body.
    const onBroken = (error?: unknown): void =>
      refuse(
        error instanceof PetrelError
          ? error
          : new PetrelError("PETREL_INVALID_REQUEST", "The connection ended before the body did."),
      );
    const timer = setTimeout(() => {
      refuse(new PetrelError("PETREL_REQUEST_TIMEOUT", `The body took longer than ${deadlineMs} ms.`));
    }, deadlineMs);

    if (payload.destroyed) {
      onBroken();
      return;
    }
    payload.on("data", onData).on("end", onEnd).on("error", onBroken).on("close", onBroken);
  });
}

/** The bytes again, for the parser. */
export function streamOf(bytes: Buffer): Readable {
  const stream = new Readable({ read: () => undefined });
  if (bytes.length > 0) stream.push(bytes);
  stream.push(null);
  return stream;
}
