// ask-service, fetch-token -> here -> @petrel/server: makes one call to auth, collect or dispatch.
// Guarantees: gives the answer's JSON, or an error that says what the service answered or that it did not answer; one
// attempt, since a person waits and may try again.
import { Petrel, PetrelError, petrelErrorCodes, type Method } from "@petrel/server";
import { CliError, describeError } from "./cli-error.js";

export interface CallOptions {
  /** Also for messages. */
  readonly service: "auth" | "collect" | "dispatch";
  readonly baseUrl: string;
  /** `KEY.SECRET`. */
  readonly key: string;
  /** Whether to sign the request instead of sending the secret. */
  readonly sign?: boolean;
  readonly method: Method;
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  readonly interrupted: AbortSignal;
}

/** A webhook that is tested may take 15 s. */
const TIMEOUT_MS = 20_000;

/** @throws CliError */
export async function callService(options: CallOptions): Promise<Readonly<Record<string, unknown>>> {
  const { service, baseUrl, key, sign, method, path, body, interrupted } = options;
  const limits = { attempts: 1, timeoutMs: TIMEOUT_MS, attemptTimeoutMs: TIMEOUT_MS };
  const petrel = new Petrel({ [service]: baseUrl, key, sign, ...limits });
  try {
    return await petrel.request(service, method, path, { json: body, signal: interrupted });
  } catch (error) {
    if (interrupted.aborted) throw new CliError("interrupted", { cause: error });
    throw error instanceof PetrelError
      ? new CliError(describe(error, service, baseUrl), { cause: error })
      : error;
  }
}

/** In one line. */
function describe(error: PetrelError, service: string, baseUrl: string): string {
  const { code, message, status, retryable, details, cause } = error;
  if (status === undefined) {
    return `${service} at ${baseUrl} does not answer (${causeOf(cause)}): is the cluster running?`;
  }
  if (code === petrelErrorCodes.badAnswer) {
    return `${service} answered ${status}, which is not an answer of Petrel: is this its address?`;
  }
  const facts = details === undefined ? "" : ` ${JSON.stringify(details)}`;
  return `${service} answered ${status} ${code}: ${message}${facts}${retryable ? " (may succeed later)" : ""}`;
}

/** `fetch` hides the reason, such as ECONNREFUSED, in the error's cause. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) return (cause as NodeJS.ErrnoException).code ?? cause.message;
  return describeError(error);
}
