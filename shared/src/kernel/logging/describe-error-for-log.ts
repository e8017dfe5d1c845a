// logging -> here: a thrown value as a log line shows it.
// Guarantees: shows its kind, code, message, stack and causes, and nothing else. A library's error may also carry its
// input, such as a Redis command with whole messages as arguments; that stays out of the log.

export interface LoggedError {
  readonly type: string;
  readonly code?: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** Deeper chains add nothing and could be circular. */
const MAX_CAUSES = 5;
const MAX_MESSAGE_CHARS = 2_000;

export function describeErrorForLog(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error))
    return { type: typeof error, message: String(error).slice(0, MAX_MESSAGE_CHARS) };
  const { code } = error as { readonly code?: unknown };
  const { cause, stack } = error;
  return {
    type: error.name,
    ...(typeof code === "string" ? { code } : {}),
    message: error.message.slice(0, MAX_MESSAGE_CHARS),
    // The first line only repeats the message.
    ...(stack === undefined ? {} : { stack: framesOf(stack) }),
    ...(cause === undefined || depth >= MAX_CAUSES ? {} : { cause: describeErrorForLog(cause, depth + 1) }),
  };
}

function framesOf(stack: string): string {
  return stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .join("\n");
}
