// A body's type that nobody here reads -> here: whether there is a body at all.
// Guarantees: no bytes are no body, whatever type they are said to have (`curl -d ''` says a form, aiohttp a stream of
// octets): what that means is for the route's schema to say; anything else is refused with its first byte.
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { PetrelError } from "../errors.js";

type Done = (error: Error | null, body?: undefined) => void;

interface ParsesBodies {
  addContentTypeParser(
    type: string,
    parse: (request: { readonly headers: IncomingHttpHeaders }, payload: Readable, done: Done) => void,
  ): unknown;
}

/** Call behind what adds the types that are read. */
export function refuseOtherTypes(app: ParsesBodies): void {
  app.addContentTypeParser("*", ({ headers }, payload, done) => {
    // Only a body in chunks may turn out to be none.
    if (headers["transfer-encoding"] === undefined) {
      done(refusal());
      return;
    }
    const settle = (error: Error | null): void => {
      payload.off("data", onData).off("end", onEnd).off("error", settle);
      done(error);
    };
    const onData = (): void => settle(refusal());
    const onEnd = (): void => settle(null);
    payload.on("data", onData).on("end", onEnd).on("error", settle);
  });
}

/** A request without bytes has no type: the framework looks for one who reads it before it looks for bytes. */
export function forgetTypeOfNothing(headers: IncomingHttpHeaders): void {
  const length = headers["content-length"];
  const hasBody = headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
  if (!hasBody) delete headers["content-type"];
}

function refusal(): PetrelError {
  return new PetrelError("PETREL_UNSUPPORTED_MEDIA_TYPE", "Bodies are application/json here.");
}
