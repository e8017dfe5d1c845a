// The local run: a reason not to start, or to give up.
// Guarantees: its message is one clear line for the person who typed `npm start`; it is shown without a stack.

export class LocalRunError extends Error {
  override readonly name = "LocalRunError";
}

/** The code of a system error, such as "EACCES". */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
