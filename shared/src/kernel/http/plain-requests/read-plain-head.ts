// plain-connections -> here: a request's head, as bytes, where nothing about it is unusual.
// Guarantees: what is read here, Node's parser reads alike: the same target, the same fields, the same end of the head
// and of the body. Whatever could be read in two ways, by Node or by a proxy in front, is left to Node: every field that
// is not listed, one that is there twice, an empty value, any byte that is not printable ASCII, any line end but CR LF, a
// length that is not the plainest number.
import { isHost } from "../check-head.js";

export interface PlainHead {
  readonly url: string;
  /** In lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly contentLength: number;
}

/**
 * None of these changes how a request is framed, except the two that are read here: `content-length`, and `connection`,
 * which may only say that the connection stays.
 */
const KNOWN: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "authorization",
  "cache-control",
  "connection",
  "content-length",
  "content-type",
  "forwarded",
  "host",
  "origin",
  "pragma",
  "sec-fetch-mode",
  "traceparent",
  "tracestate",
  "user-agent",
  "via",
  "x-amzn-trace-id",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
]);

const FIRST_LINE = /^POST (\/[A-Za-z0-9/_-]*) HTTP\/1\.1$/;
/** Printable, beginning and ending with something to see. */
const VALUE = /^[!-~](?:[ -~]*[!-~])?$/;
/** No sign, no leading zero, no list; nothing near what a double cannot hold. */
const LENGTH = /^(?:0|[1-9]\d{0,8})$/;
const KEEP_ALIVE = /^keep-alive$/i;
const LINE_END = "\r\n";
const HEAD_END = "\r\n\r\n";

/**
 * @param text a head with the empty line that ends it, each byte as a character
 * @returns undefined where Node must read it
 */
export function readPlainHead(text: string): PlainHead | undefined {
  if (!text.endsWith(HEAD_END)) return undefined;
  const [first = "", ...lines] = text.slice(0, -HEAD_END.length).split(LINE_END);
  const url = FIRST_LINE.exec(first)?.[1];
  if (url === undefined) return undefined;
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!KNOWN.has(name) || headers[name] !== undefined) return undefined;
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (!VALUE.test(value)) return undefined;
    headers[name] = value;
  }
  const { host, connection = "keep-alive" } = headers;
  const length = headers["content-length"];
  if (host === undefined || !isHost(host) || !KEEP_ALIVE.test(connection)) return undefined;
  if (length === undefined || !LENGTH.test(length)) return undefined;
  return { url, headers, contentLength: Number(length) };
}
