// A signed request's bytes -> here -> authenticate-signature, then read-json-body: kept and hashed before they are believed.
// Guarantees: never more than the route takes, and of all requests that are not checked yet never more than the budget
// beside a small share each; a body that trickles in is given up; the bytes go on as they came.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { PetrelError } from "../kernel/errors.js";

export interface SignedBody {
  readonly bytes: Buffer;
  /** 64 lower-case hex characters. */
  readonly sha256: string;
}

export interface ReadSignedBodyOptions {
  /** Of the route. */
  readonly maxBytes: number;
  readonly budget: UncheckedBytes;
  readonly deadlineMs: number;
}

/** What each body may take beside the budget: small requests never wait for large ones of strangers. */
const FREE_BYTES = 64 * 1024;

/** How many bytes are kept of requests whose signature is not checked yet: a key's id is all it takes to send some. */
export class UncheckedBytes {
  readonly #max: number;
  #taken = 0;

  /** @param max in all, beside the first 64 KiB of each body */
  constructor(max: number) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  /** @returns whether there was room; if not, nothing is taken */
  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#max) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }
}

/**
 * @param payload a stream of bytes, not read yet
 * @throws PetrelError PETREL_PAYLOAD_TOO_LARGE, PETREL_UNAVAILABLE where the budget is used up, PETREL_INVALID_REQUEST
 * where the body does not end in time; the rest is then left unread
 */
export function readSignedBody(payload: Readable, options: ReadSignedBodyOptions): Promise<SignedBody> {
  const { maxBytes, budget, deadlineMs } = options;
  return new Promise((resolve, reject) => {
    const hashing = createHash("sha256");
    const chunks: Buffer[] = [];
    let length = 0;
    let taken = 0;

    const settle = (): void => {
      clearTimeout(timer);
      budget.give(taken);
      payload.off("data", onData).off("end", onEnd).off("error", onBroken).off("close", onBroken);
      // What comes after a refusal may still end in an error: nobody is left to hear of it.
      payload.on("error", () => undefined);
    };
    const refuse = (error: PetrelError): void => {
      settle();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > maxBytes) {
        refuse(new PetrelError("PETREL_PAYLOAD_TOO_LARGE", `The body is larger than ${maxBytes} bytes.`));
        return;
      }
      const needed = Math.max(0, length - FREE_BYTES) - taken;
      if (needed > 0 && !budget.take(needed)) {
        refuse(new PetrelError("PETREL_UNAVAILABLE", "Too many large signed requests are under way."));
        return;
      }
      taken += needed;
      hashing.update(chunk);
      chunks.push(chunk);
    };
    const onEnd = (): void => {
      settle();
      resolve({ bytes: Buffer.concat(chunks, length), sha256: hashing.digest("hex") });
    };
    const onBroken = (): void =>
      refuse(new PetrelError("PETREL_INVALID_REQUEST", "The connection ended before the body did."));
    const timer = setTimeout(() => {
      refuse(new PetrelError("PETREL_INVALID_REQUEST", `The body took longer than ${deadlineMs} ms.`));
    }, deadlineMs);

    if (payload.destroyed) {
      onBroken();
      return;
    }
    payload.on("data", onData).on("end", onEnd).on("error", onBroken).on("close", onBroken);
  });
}

/** The bytes once more, for whoever parses them. */
export function streamOf(bytes: Buffer): Readable {
  const stream = new Readable({ read: () => undefined });
  if (bytes.length > 0) stream.push(bytes);
  stream.push(null);
  return stream;
}
