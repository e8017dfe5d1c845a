// routes/webhook-routes, webhooks/sender/webhook-sender -> here: whether a URL may be posted to at all.
// Guarantees: alternative spellings of an address (decimal, octal, hexadecimal, short) are recognised, because the URL
// parser normalises them. A name passes here; checked-lookup checks its addresses.
import { isIP } from "node:net";
import { isRefusedAddress } from "./refused-address.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

const MAX_LENGTH = 2_048;

/** @returns what is wrong with it, to complete "url …"; undefined if nothing is */
export function problemOfUrl(text: string, allowPrivate: boolean): string | undefined {
  if (text.length > MAX_LENGTH) return `must not be longer than ${MAX_LENGTH} characters`;
  const url = parseUrl(text);
  // The parser drops tabs and newlines and trims the text, so what was checked would differ from what was written.
  if (/[^!-~\u00a0-\u{10ffff}]/u.test(text) || url === undefined) return "must be a URL";
  const { protocol, username, password, hash, hostname } = url;
  if (protocol !== "https:" && !(protocol === "http:" && allowPrivate)) {
    return "must begin with https: (http: only with WEBHOOK_ALLOW_PRIVATE)";
  }
  if (username !== "" || password !== "") {
    return "must not contain a user and password: the requests are signed instead";
  }
  if (hash !== "") return "must not contain a fragment: it is never sent";
  return refusedHost(hostname, allowPrivate);
}

/** @param hostname as in a URL: IPv6 in brackets */
export function refusedHost(hostname: string, allowPrivate: boolean): string | undefined {
  const address = hostname.replace(/^\[|\]$/g, "");
  if (allowPrivate || isIP(address) === 0 || !isRefusedAddress(address)) return undefined;
  return `must not name a private or special address: ${address}`;
}
