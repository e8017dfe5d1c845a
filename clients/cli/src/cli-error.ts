// The errors that end a command early.
// Guarantees: the message is a complete line; the exit code says whether the command line was wrong.

/** 1: the command failed · 2: the command line is wrong */
export type ExitCode = 0 | 1 | 2;

export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: Exclude<ExitCode, 0>;

  constructor(message: string, options: { readonly exitCode?: 1 | 2; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The command line is wrong. */
export function usageError(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}

/** Turns anything thrown into text. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
