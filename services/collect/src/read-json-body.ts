// A request's bytes -> here -> its schema: unpacks, bounds and parses JSON bodies.
// Guarantees: valid UTF-8, at most `maxBytes` unpacked and 256 levels deep, or an error of the catalogue; any JSON
// comes through as it is (a member named `__proto__` too); every other content type is refused.
import { isUtf8 } from "node:buffer";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { isNestedDeeperThan } from "./measure-nesting.js";
import { unpackBody } from "./unpack-body.js";

type Done = (error: Error | null, body?: unknown) => void;

const MAX_DEPTH = 256;

/** @param maxBytes of a body, unpacked */
export function addJsonBodyReader(app: HttpApp, maxBytes: number): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, body, done: Done) => {
    const encoding = request.headers["content-encoding"];
    if (encoding === undefined) {
      parseJson(body, done);
      return;
    }
    unpackBody(body, encoding, maxBytes, (error, unpacked) => {
      if (unpacked === undefined) done(error);
      else parseJson(unpacked, done);
    });
  });
}

/** No bytes are no body: what that means is for the route's schema to say. */
function parseJson(body: Buffer, done: Done): void {
  if (body.length === 0) {
    done(null);
    return;
  }
  if (isNestedDeeperThan(body, MAX_DEPTH)) {
    done(new PetrelError("PETREL_INVALID_REQUEST", `The body is nested deeper than ${MAX_DEPTH} levels.`));
    return;
  }
  if (!isUtf8(body)) {
    done(new PetrelError("PETREL_INVALID_JSON", "The body is not UTF-8."));
    return;
  }
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    done(new PetrelError("PETREL_INVALID_JSON", "The body is not valid JSON.", { cause: error }));
    return;
  }
  done(null, value);
}
