// The console's calls to auth, collect and the APNs simulator: the only place where its producer key is used.
// Guarantees: an answer in the contract's form is passed on unchanged; anything else is a 503. Each call carries the id of
// the request that it serves.
import type { ClientTlsFiles } from "@petrel/shared/kernel/calls/client-tls-files";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { REQUEST_ID } from "@petrel/shared/kernel/http/requests/request-ids";
import { requestBounded } from "@petrel/shared/kernel/calls/request-bounded";

export interface ServiceAnswer {
  readonly status: number;
  /** JSON text; "" for status 204. */
  readonly body: string;
  readonly retryAfter: string | undefined;
}

/** @param requestId of the page's request, by which the services' logs find it again */
export type CallService = (
  requestId: string,
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: Readonly<Record<string, unknown>>,
) => Promise<ServiceAnswer>;

export interface CallServiceOptions {
  /** For messages, such as "auth". */
  readonly name: string;
  readonly baseUrl: string;
  /** `key.secret`; undefined for a service that needs none. */
  readonly credential: string | undefined;
  readonly timeoutMs: number;
  /** For an https URL; defaults to the system's authorities and no client certificate. */
  readonly tls?: ClientTlsFiles | undefined;
}

/** Larger than any of the answers. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export function createCallService({
  name,
  baseUrl,
  credential,
  timeoutMs,
  tls,
}: CallServiceOptions): CallService {
  return async (requestId, method, path, body) => {
    const url = new URL(path, baseUrl);
    const headers = {
      [REQUEST_ID]: requestId,
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    try {
      const answer = await requestBounded(url, {
        tls,
        method,
        headers,
        timeoutMs,
        maxBytes: MAX_ANSWER_BYTES,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (answer.status !== 204) JSON.parse(answer.text);
      return { status: answer.status, body: answer.text, retryAfter: answer.headers["retry-after"] };
    } catch (cause) {
      throw new PetrelError("PETREL_UNAVAILABLE", `${name} does not answer.`, { cause });
    }
  };
}
