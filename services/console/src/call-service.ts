// The console's calls to auth and collect: the only place where its producer key is used.
// Guarantees: an answer in the contract's form is passed on as it came; no answer, or another, is a 503.
import { PetrelError } from "@petrel/shared/kernel/errors";

export interface ServiceAnswer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
  readonly retryAfter: string | undefined;
}

export type CallService = (
  method: "GET" | "POST",
  path: string,
  body?: Readonly<Record<string, unknown>>,
) => Promise<ServiceAnswer>;

export interface CallServiceOptions {
  /** For messages: "auth" or "collect". */
  readonly name: string;
  readonly baseUrl: string;
  /** `key.secret`. */
  readonly credential: string;
  readonly timeoutMs: number;
}

export function createCallService({ name, baseUrl, credential, timeoutMs }: CallServiceOptions): CallService {
  return async (method, path, body) => {
    try {
      const response = await fetch(new URL(path, baseUrl), {
        method,
        headers: {
          authorization: `Bearer ${credential}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        // A redirect would carry the key to another address.
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      JSON.parse(text);
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
