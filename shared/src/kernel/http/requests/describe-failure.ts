// http-app, collect/express-lane -> here: how a request that failed is answered.
// Guarantees: every error has the contract's shape, the framework's too; what repeats a request's target leaves its query
// out.
import type { ErrorCode } from "../../../protocol/error-codes.js";
import { PetrelError } from "../../errors.js";
import type { RareLog } from "../../logging/rare-log.js";

export interface FailureAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As JSON text. */
  readonly body: string;
}

export interface FailedRequest {
  readonly id: string;
  readonly method: string;
  readonly url: string;
}

/** Of a logger. */
interface LogsErrors {
  error(fields: object, text: string): void;
}

/** What the framework throws: of its validation, or with a code of its own. */
interface FrameworkError {
  readonly code?: string;
  readonly statusCode?: number;
  readonly message?: string;
  readonly validationContext?: string;
  readonly validation?: readonly {
    readonly instancePath: string;
    readonly message?: string;
    readonly params: Readonly<Record<string, unknown>>;
  }[];
}

/** The error answer for a failed request. Logs it if the fault is ours. */
export function describeFailure(
  error: unknown,
  { id, method, url }: FailedRequest,
  { logger, refusals }: { readonly logger: LogsErrors; readonly refusals: RareLog },
): FailureAnswer {
  const petrelError = toPetrelError(error);
  const { status, retryAfterSeconds } = petrelError;
  if (status === 503 && petrelError.cause === undefined) {
    // Not our fault. Clients can cause these at will, and the stack adds nothing.
    refusals.warn(petrelError.message);
  } else if (status >= 500 && petrelError.code !== "PETREL_NOT_IMPLEMENTED") {
    logger.error({ err: error, requestId: id, method, path: pathOf(url) }, petrelError.message);
  }
  return {
    status,
    headers: {
      ...(status === 401 ? { "www-authenticate": 'Bearer realm="petrel"' } : {}),
      ...(retryAfterSeconds === undefined
        ? {}
        : { "retry-after": String(Math.max(1, Math.ceil(retryAfterSeconds))) }),
    },
    body: JSON.stringify(petrelError.toBody()),
  };
}

/** Anything thrown while a request is answered, as an error of the catalogue. */
export function toPetrelError(error: unknown): PetrelError {
  if (error instanceof PetrelError) return error;
  const { code, validation, validationContext, statusCode, message } = (error ?? {}) as FrameworkError;
  if (validation !== undefined) {
    const first = validation[0];
    const extra = first?.params["additionalProperty"] ?? first?.params["missingProperty"];
    const field = `${validationContext ?? "body"}${first?.instancePath ?? ""}${typeof extra === "string" ? `/${extra}` : ""}`;
    return new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${first?.message ?? "invalid"}`, {
      details: { field },
    });
  }
  if (code === "FST_ERR_BAD_URL" || code === "FST_ERR_MAX_PARAM_LENGTH") {
    // In our own words: the framework's message repeats the target, query included.
    return new PetrelError(
      "PETREL_INVALID_REQUEST",
      "The path is wrongly percent-encoded, or a part of it is too long.",
      {
        cause: error,
      },
    );
  }
  const known = code === undefined ? undefined : frameworkCodes.get(code);
  if (known !== undefined) return new PetrelError(known, message ?? known, { cause: error });
  // With a status it comes from a body parser. Without one it is our own fault, such as broken JSON that we stored.
  if (error instanceof SyntaxError && statusCode === 400)
    return new PetrelError("PETREL_INVALID_JSON", message ?? "", { cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new PetrelError("PETREL_INVALID_REQUEST", message ?? "The request is wrong.", {
      cause: error,
    });
  }
  return new PetrelError("PETREL_INTERNAL", "Something went wrong inside Petrel.", {
    cause: error,
  });
}

const frameworkCodes: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ["FST_ERR_CTP_INVALID_MEDIA_TYPE", "PETREL_UNSUPPORTED_MEDIA_TYPE"],
  ["FST_ERR_CTP_BODY_TOO_LARGE", "PETREL_PAYLOAD_TOO_LARGE"],
  ["FST_ERR_CTP_EMPTY_JSON_BODY", "PETREL_INVALID_JSON"],
  ["FST_ERR_CTP_INVALID_JSON_BODY", "PETREL_INVALID_JSON"],
  ["FST_ERR_CTP_INVALID_CONTENT_LENGTH", "PETREL_INVALID_REQUEST"],
]);

/** The path without its query, because the query may hold a credential. */
export function pathOf(url: string): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}
