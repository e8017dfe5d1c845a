// A request's head -> here -> its answer, log lines, calls to other services: the request's id.
// Guarantees: an id that a client chose is short and of plain characters, so that it can stand in a header and in a line;
// any other is as good as none. Those that are made here differ from one another, and from other processes'.
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID = "X-Request-Id";

/** Such as a UUID, a ULID, or what proxies make. */
const FORM = /^[A-Za-z0-9._~:/+=@-]{1,128}$/;
/** 48 random bits: two processes that share one are not seen. */
const PREFIX_BYTES = 6;

/** @returns the client's own id; undefined where it has none, or one that cannot be used */
export function givenRequestId(headers: IncomingHttpHeaders): string | undefined {
  const given = headers["x-request-id"];
  return typeof given === "string" && FORM.test(given) ? given : undefined;
}

/** Made by counting: a random one for each request would cost more than the rest of its head. */
export class RequestIds {
  readonly #prefix = `${randomBytes(PREFIX_BYTES).toString("base64url")}.`;
  #made = 0;

  of(headers: IncomingHttpHeaders): string {
    return givenRequestId(headers) ?? this.#prefix + (this.#made++).toString(36);
  }
}
