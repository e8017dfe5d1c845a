// Every request's head -> here, before anything trusts it.
// Guarantees: a field that may occur once does occur once. Node silently keeps one of two values, and a proxy in
// between may have kept the other. The request names one valid host (RFC 9112 section 3.2), and no expectation that we
// cannot meet.
import type { IncomingMessage } from "node:http";
import { PetrelError } from "../errors.js";

/** Fields that say who asks, for what, on whose behalf, and how to read the body. */
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

/** uri-host [ ":" port ] of RFC 9110 section 7.2; empty if the target has no authority. */
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?$/;

/** @returns PETREL_INVALID_REQUEST, or undefined if nothing is wrong */
export function checkHead(request: IncomingMessage): PetrelError | undefined {
  const { headers, rawHeaders } = request;
  const { host, expect } = headers;
  // Node merges fields of the same name. If there are as many names as lines, nothing occurs twice: a cheap check that
  // settles nearly every request.
  if (Object.keys(headers).length * 2 < rawHeaders.length) {
    const repeated = findRepeated(rawHeaders);
    if (repeated !== undefined) return invalid(`${repeated} is given more than once.`);
  }
  if (host === undefined) {
    const isOld =
      request.httpVersionMajor < 1 || (request.httpVersionMajor === 1 && request.httpVersionMinor < 1);
    if (!isOld) return invalid("Host is missing.");
  } else if (!isHost(host)) {
    return invalid("Host is not a name or an address, with or without a port.");
  }
  if (expect !== undefined && !/^100-continue$/i.test(expect)) {
    return invalid("Expect: only 100-continue is supported.");
  }
  return undefined;
}

/** Whether this may stand in a Host field. */
export function isHost(text: string): boolean {
  return HOST.test(text);
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
