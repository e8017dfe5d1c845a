// A body of a type that no parser reads -> here: whether there is a body at all.
// Guarantees: an empty body is no body, whatever its declared type (`curl -d ''` sends a form's, aiohttp
// `application/octet-stream`); the route's schema decides whether that is allowed. Anything else is refused at its
// first byte.
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

/** Call this after adding the parsers. */
export function refuseOtherTypes(app: ParsesBodies): void {
  app.addContentTypeParser("*", ({ headers }, payload, done) => {
    // Only a chunked body may turn out to be empty.
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

/** Removes the type of an empty body, because the framework looks for a parser before it looks for bytes. */
export function forgetTypeOfNothing(headers: IncomingHttpHeaders): void {
  const length = headers["content-length"];
  const hasBody = headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
  if (!hasBody) delete headers["content-type"];
}

function refusal(): PetrelError {
  return new PetrelError("PETREL_UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json.");
}
