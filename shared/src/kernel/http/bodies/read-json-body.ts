// A request's bytes -> here -> its schema: unpacks, bounds and parses JSON bodies.
// Guarantees: the body is valid UTF-8, at most `maxBytes` unpacked and 256 levels deep; otherwise the caller gets an
// error of the catalogue. All JSON passes unchanged, including a member named `__proto__` and half a surrogate pair.
// Other content types are refused.
import { isAscii, isUtf8 } from "node:buffer";
import { hasInfinity } from "../../../protocol/messages/has-infinity.js";
import { PetrelError } from "../../errors.js";
import type { HttpApp } from "../http-app.js";
import { isNestedDeeperThan } from "./measure-nesting.js";
import { refuseOtherTypes } from "../other-content-types.js";
import { unpackBody } from "./unpack-body.js";

type Done = (error: Error | null, body?: unknown) => void;

const MAX_DEPTH = 256;

/** @param maxBytes the largest body, unpacked */
export function addJsonBodyReader(app: HttpApp, maxBytes: number): void {
  app.removeAllContentTypeParsers();
  refuseOtherTypes(app);
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, body, done: Done) => {
    const encoding = request.headers["content-encoding"];
    if (encoding === undefined || body.length === 0) {
      parseJson(body, done);
      return;
    }
    unpackBody(body, encoding, maxBytes, (error, unpacked) => {
      if (unpacked === undefined) done(error);
      else parseJson(unpacked, done);
    });
  });
}

/** An empty body counts as no body; the route's schema decides whether that is allowed. */
function parseJson(body: Buffer, done: Done): void {
  if (body.length === 0) {
    done(null);
    return;
  }
  let value: unknown;
  try {
    value = readJson(body);
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  done(null, value);
}

/**
 * @param body not empty, and within its limit
 * @param text the body's, if it was decoded before
 * @throws PetrelError PETREL_INVALID_JSON or PETREL_INVALID_REQUEST
 */
export function readJson(body: Buffer, text = textOf(body)): unknown {
  if (isNestedDeeperThan(body, MAX_DEPTH))
    throw new PetrelError("PETREL_INVALID_REQUEST", `The body is nested deeper than ${MAX_DEPTH} levels.`);
  if (text === undefined) throw new PetrelError("PETREL_INVALID_JSON", "The body is not UTF-8.");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PetrelError("PETREL_INVALID_JSON", "The body is not valid JSON.", { cause: error });
  }
  if (mayOverflow.test(text) && hasInfinity(value)) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "A number is too large: numbers are IEEE 754 doubles (RFC 8259).",
    );
  }
  return value;
}

/** @returns undefined if the bytes are not UTF-8 */
export function textOf(body: Buffer): string | undefined {
  // Most bodies are ASCII, which needs no decoding.
  if (isAscii(body)) return body.toString("latin1");
  return isUtf8(body) ? body.toString("utf8") : undefined;
}

/** A number beyond 1.8e308 needs an exponent of three digits, or hundreds of digits. */
const mayOverflow = /[eE]\+?\d{3}|\d{309}/;
