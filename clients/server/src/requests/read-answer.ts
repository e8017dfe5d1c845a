// send-request -> here: what an HTTP answer, or its absence, says about the request.
// Guarantees: "refused" only if the server cannot have acted, or says that it has not.
import { PetrelError, petrelErrorCodes, type Outcome } from "../petrel-error.js";

export type Json = Readonly<Record<string, unknown>>;

/** The system's error codes if no connection was made. */
const neverConnected: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

const repeatable: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/** @returns the JSON of a 2xx; {} for a 204 */
export function readAnswer(status: number, text: string, retryAfter: string | null): Json {
  if (status === 204) return {};
  const answer = parseObject(text);
  if (status >= 200 && status < 300 && answer !== undefined) return answer;
  const retryAfterMs = readRetryAfter(retryAfter);
  const error = answer?.["error"];
  if (typeof error === "object" && error !== null && typeof (error as Json)["code"] === "string") {
    throw readError(error as Json, status, retryAfterMs);
  }
  // A redirect, a proxy's page, half an answer.
  throw new PetrelError(petrelErrorCodes.badAnswer, `${status}, which is not an answer of Petrel.`, {
    outcome: status >= 300 && status < 500 && status !== 408 ? "refused" : "unknown",
    retryable: repeatable.has(status) || (status >= 200 && status < 300),
    status,
    retryAfterMs,
  });
}

/** @param error in the contract's shape */
export function readError(error: Json, status: number, retryAfterMs?: number): PetrelError {
  const details = asObject(error["details"]);
  const seconds = details?.["retryAfterSeconds"];
  return new PetrelError(String(error["code"]), String(error["message"]), {
    outcome: outcomeOf(status, details),
    retryable: error["retryable"] === true,
    status,
    details,
    retryAfterMs: retryAfterMs ?? (typeof seconds === "number" ? seconds * 1_000 : undefined),
  });
}

function outcomeOf(status: number, details: Json | undefined): Outcome {
  // 501 changes nothing; the other 5xx may come after Redis was called.
  if (status >= 500 && status !== 501) return "unknown";
  const stored = details?.["stored"];
  return Array.isArray(stored) && stored.length > 0 ? "partial" : "refused";
}

/** What `fetch` rejected with. */
export function readFailure(cause: unknown, where: string, waitedMs: number | undefined): PetrelError {
  if (waitedMs !== undefined) {
    return noAnswer(
      petrelErrorCodes.noAnswer,
      `${where} did not answer within ${waitedMs} ms.`,
      "unknown",
      cause,
    );
  }
  const { code, message } = innermost(cause);
  const why = code ?? message;
  return neverConnected.has(code)
    ? noAnswer(petrelErrorCodes.unreachable, `${where} can't be reached (${why}).`, "refused", cause)
    : noAnswer(petrelErrorCodes.noAnswer, `${where} gave no answer (${why}).`, "unknown", cause);
}

function noAnswer(code: string, message: string, outcome: Outcome, cause: unknown): PetrelError {
  return new PetrelError(code, message, { outcome, retryable: true, cause });
}

/** `fetch` hides the reason, such as ECONNREFUSED, in the error's cause; with two addresses, in both of them. */
function innermost(error: unknown): { readonly code?: string; readonly message: string } {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  if (inner instanceof AggregateError && inner.errors.length > 0) inner = inner.errors[0];
  const { code } = inner as { readonly code?: unknown };
  const message = inner instanceof Error ? inner.message : String(inner);
  return typeof code === "string" ? { code, message } : { message };
}

function readRetryAfter(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}

function parseObject(text: string): Json | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null ? (value as Json) : undefined;
}
