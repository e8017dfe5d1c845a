// What a command has of the world: where it writes, what it reads, when to stop.
// Guarantees: commands touch neither process.stdout nor process.env nor signals, so tests run them as they are.
import type { Readable } from "node:stream";

export interface Terminal {
  /** One line of result, for people and scripts. */
  readonly print: (line: string) => void;
  /** As `print`. Resolves when the line has left this process; rejects where its reader has gone. */
  readonly deliver: (line: string) => Promise<void>;
  /** One line about the work, for people. */
  readonly note: (line: string) => void;
  readonly stdin: Readable;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** Aborted by SIGINT and SIGTERM: end in good order. */
  readonly interrupted: AbortSignal;
}
