// The console's calls to auth, collect and the APNs simulator: the only place where its producer key is used.
// Guarantees: an answer in the contract's form is passed on as it came; no answer, or another, is a 503.
import { PetrelError } from "@petrel/shared/kernel/errors";

export interface ServiceAnswer {
  readonly status: number;
  /** JSON text; "" where the status is 204. */
  readonly body: string;
  readonly retryAfter: string | undefined;
}

export type CallService = (
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: Readonly<Record<string, unknown>>,
) => Promise<ServiceAnswer>;

export interface CallServiceOptions {
  /** For messages, such as "auth". */
  readonly name: string;
  readonly baseUrl: string;
  /** `key.secret`; undefined for who asks for none. */
  readonly credential: string | undefined;
  readonly timeoutMs: number;
}

export function createCallService({ name, baseUrl, credential, timeoutMs }: CallServiceOptions): CallService {
  return async (method, path, body) => {
    try {
      const response = await fetch(new URL(path, baseUrl), {
        method,
        headers: {
          ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        // A redirect would carry the key to another address.
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (response.status !== 204) JSON.parse(text);
      return {
        status: response.status,
        body: text,
        retryAfter: response.headers.get("retry-after") ?? undefined,
      };
    } catch (cause) {
      throw new PetrelError("PETREL_UNAVAILABLE", `${name} does not answer.`, { cause });
    }
  };
}
