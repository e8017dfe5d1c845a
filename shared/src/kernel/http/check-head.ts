// Every request's head -> here, before anything of it is believed.
// Guarantees: what may be there once is there once: of two values Node keeps one and drops the other in silence, and a
// proxy in between may have kept the other; the host is one (RFC 9112 section 3.2); an expectation is one that is met.
import type { IncomingMessage } from "node:http";
import { PetrelError } from "../errors.js";

/** Fields that say who asks, for what, of whom, and how the body is to be read. */
const SINGLE: ReadonlySet<string> = new Set([
  "authorization",
  "content-length",
  "content-type",
  "expect",
  "from",
  "host",
  "if-modified-since",
  "if-unmodified-since",
  "last-event-id",
  "max-forwards",
  "origin",
  "petrel-id",
  "petrel-key",
  "petrel-signature",
  "petrel-timestamp",
  "proxy-authorization",
  "referer",
  "sec-websocket-key",
  "sec-websocket-version",
  "user-agent",
]);

/** uri-host [ ":" port ] of RFC 9110 section 7.2; empty where the target names nobody. */
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?$/;

/** @returns PETREL_INVALID_REQUEST, or undefined where nothing is wrong */
export function checkHead(request: IncomingMessage): PetrelError | undefined {
  const { headers, rawHeaders } = request;
  const { host, expect } = headers;
  // Node makes one of two of a name: fewer names than lines is all that has to be seen of nearly every request.
  if (Object.keys(headers).length * 2 < rawHeaders.length) {
    const repeated = findRepeated(rawHeaders);
    if (repeated !== undefined) return invalid(`${repeated} is given more than once.`);
  }
  if (host === undefined) {
    const isOld =
      request.httpVersionMajor < 1 || (request.httpVersionMajor === 1 && request.httpVersionMinor < 1);
    if (!isOld) return invalid("Host is missing.");
  } else if (!HOST.test(host)) {
    return invalid("Host is not a name or an address, with or without a port.");
  }
  if (expect !== undefined && !/^100-continue$/i.test(expect)) {
    return invalid("Expect: only 100-continue can be met here.");
  }
  return undefined;
}

function findRepeated(rawHeaders: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? "").toLowerCase();
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

function invalid(message: string): PetrelError {
  return new PetrelError("PETREL_INVALID_REQUEST", message);
}
