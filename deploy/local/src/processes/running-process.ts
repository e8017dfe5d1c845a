// The local run: a child process that has been started.
// Guarantees: `exited` resolves exactly once; `stop` asks politely, `signal("SIGKILL")` does not.
import type { ProcessExit } from "@petrel/shared/embedded-redis/launch-process";

export interface RunningProcess {
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  /** Resolves when it is gone. */
  stop(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

/** For a line such as "auth … died (exit code 1)". */
export function describeExit({ code, signal }: ProcessExit): string {
  return signal === null ? `exit code ${code ?? "unknown"}` : signal;
}
