// A request's head -> here -> its answer, log lines, calls to other services: the request's id.
// Guarantees: a client's own id is used only if it is short and of plain characters, so that it can stand in a header
// and a log line. Ids made here are unique, across processes too.
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID = "X-Request-Id";

/** Fits a UUID, a ULID, and what proxies generate. */
const FORM = /^[A-Za-z0-9._~:/+=@-]{1,128}$/;
/** 48 random bits: a collision between two processes is unlikely enough to ignore. */
const PREFIX_BYTES = 6;

/** @returns the client's own id; undefined if there is none, or it cannot be used */
export function givenRequestId(headers: IncomingHttpHeaders): string | undefined {
  const given = headers["x-request-id"];
  return typeof given === "string" && FORM.test(given) ? given : undefined;
}

/** A counter after a random prefix: a random id per request would cost more than parsing its head. */
export class RequestIds {
  readonly #prefix = `${randomBytes(PREFIX_BYTES).toString("base64url")}.`;
  #made = 0;

  of(headers: IncomingHttpHeaders): string {
    return givenRequestId(headers) ?? this.#prefix + (this.#made++).toString(36);
  }
}
