// Makes one call to auth, collect or dispatch.
// Guarantees: gives the answer's JSON, or an error that says what the service answered or that it did not answer.
import { CliError, describeError } from "./cli-error.js";
import { signRequest } from "./sign-request.js";

export interface CallOptions {
  /** For messages: "auth", "collect" or "dispatch". */
  readonly service: string;
  readonly baseUrl: string;
  /** `KEY.SECRET`. */
  readonly key: string;
  /** Whether to sign the request instead of sending the secret. */
  readonly sign?: boolean;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  readonly interrupted: AbortSignal;
}

const TIMEOUT_MS = 15_000;

/** @throws CliError */
export async function callService(options: CallOptions): Promise<Readonly<Record<string, unknown>>> {
  const { service, baseUrl, key, sign = false, method, path, body, interrupted } = options;
  const url = new URL(path, baseUrl);
  const credential = sign
    ? signRequest({ key, method, target: url.pathname + url.search, body: body ?? "" })
    : { authorization: `Bearer ${key}` };
  let status: number;
  let text: string;
  try {
    const response = await fetch(url, {
      method,
      headers: {
        ...credential,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      // A redirect would carry the key to another address.
      redirect: "error",
      signal: AbortSignal.any([interrupted, AbortSignal.timeout(TIMEOUT_MS)]),
      ...(body === undefined ? {} : { body }),
    });
    status = response.status;
    text = await response.text();
  } catch (cause) {
    if (interrupted.aborted) throw new CliError("interrupted", { cause });
    const why = causeOf(cause);
    throw new CliError(`${service} at ${baseUrl} does not answer (${why}): is the cluster running?`, {
      cause,
    });
  }
  // No content: done.
  if (status === 204) return {};
  const answer = parseObject(text);
  if (status >= 200 && status < 300 && answer !== undefined) return answer;
  throw new CliError(`${service} answered ${status}${describeAnswer(answer)}`);
}

/** Turns an error in the contract's shape into one line. */
function describeAnswer(answer: Readonly<Record<string, unknown>> | undefined): string {
  const error = answer?.["error"];
  if (typeof error !== "object" || error === null)
    return ", which is no answer of Petrel: is this its address?";
  const { code, message, retryable, details } = error as Readonly<Record<string, unknown>>;
  const facts = details === undefined ? "" : ` ${JSON.stringify(details)}`;
  return ` ${String(code)}: ${String(message)}${facts}${retryable === true ? " (may succeed later)" : ""}`;
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** `fetch` hides the reason, such as ECONNREFUSED, in the error's cause. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) return (cause as NodeJS.ErrnoException).code ?? cause.message;
  return describeError(error);
}
