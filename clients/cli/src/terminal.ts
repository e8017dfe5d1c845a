// All a command sees of the outside: where it writes, what it reads, when to stop.
// Guarantees: commands never touch process.stdout, process.env or signals, so tests can run them unchanged.
import type { Readable } from "node:stream";

export interface Terminal {
  /** Prints one line of result, for people and scripts. */
  readonly print: (line: string) => void;
  /** Like `print`. Resolves when the line has left this process; rejects if its reader is gone. */
  readonly deliver: (line: string) => Promise<void>;
  /** Prints one line about the work, for people. */
  readonly note: (line: string) => void;
  readonly stdin: Readable;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** SIGINT and SIGTERM abort it: end cleanly. */
  readonly interrupted: AbortSignal;
}
