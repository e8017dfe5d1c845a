// logging -> here: a thrown value as it stands in a log line.
// Guarantees: its kind, code, message, stack and causes, and nothing else: an error of a library carries what it was
// about (a Redis command with its arguments: whole messages), and that stays out of the log.

export interface LoggedError {
  readonly type: string;
  readonly code?: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** Deeper chains say nothing new, and could be a circle. */
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
    // Without its head, which repeats the message.
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
