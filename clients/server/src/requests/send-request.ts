// repeat-request, send/batch-sender -> here -> a service: one attempt.
// Guarantees: returns the answer's JSON, or throws a PetrelError that says what is known. Follows no redirect, which
// would carry the key elsewhere.
import type { PetrelError } from "../petrel-error.js";
import { readAnswer, readFailure, type Json } from "./read-answer.js";
import { signRequest } from "./sign-request.js";

export type ServiceName = "auth" | "collect" | "dispatch";
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What can be called like `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface Requester {
  /** The services' URLs. */
  readonly urls: Readonly<Partial<Record<ServiceName, string>>>;
  /** `KEY.SECRET`. */
  readonly key: string;
  readonly sign: boolean;
  readonly fetch: Fetch;
}

export interface Request {
  readonly service: ServiceName;
  readonly method: Method;
  /** With its query; percent-encoded. */
  readonly path: string;
  /** JSON, as text or compressed. */
  readonly body?: string | Uint8Array<ArrayBuffer> | undefined;
  readonly isGzip?: boolean | undefined;
  /** A user's token, instead of the key. */
  readonly userToken?: string | undefined;
}

/** @throws PetrelError */
export async function sendRequest(
  requester: Requester,
  request: Request,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Json> {
  const { service, method, body } = request;
  const base = requester.urls[service];
  if (base === undefined) throw new TypeError(`new Petrel: the option ${service} is missing`);
  const url = new URL(base.replace(/\/+$/, "") + request.path);
  const limit = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let text: string;
  try {
    response = await requester.fetch(url.href, {
      method,
      headers: headersOf(requester, request, url),
      redirect: "manual",
      signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
      ...(body === undefined ? {} : { body }),
    });
    text = await response.text();
  } catch (cause) {
    throw readFailure(cause, `${service} at ${base}`, limit.aborted ? timeoutMs : undefined);
  }
  return readAnswer(response.status, text, response.headers.get("retry-after"));
}

function headersOf(
  { key, sign }: Requester,
  { method, body, isGzip, userToken }: Request,
  url: URL,
): Record<string, string> {
  const headers: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
  if (isGzip === true) headers["content-encoding"] = "gzip";
  if (userToken !== undefined) return { ...headers, authorization: `Bearer ${userToken}` };
  if (!sign) return { ...headers, authorization: `Bearer ${key}` };
  return { ...headers, ...signRequest({ key, method, target: url.pathname + url.search, body: body ?? "" }) };
}

/** Whether the same attempt may be repeated, as far as the answer tells. */
export function mayRepeat({ code, retryable }: PetrelError): boolean {
  // A full inbox empties when a person reads, which is not a matter of seconds.
  return retryable && code !== "PETREL_INBOX_FULL";
}
