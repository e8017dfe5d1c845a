// Embedded Redis: runs one short system command (apt-get, dpkg-deb, ldd) and keeps its output.
// Guarantees: ends within its deadline, prints nothing itself, speaks English, never waits for a keyboard.
import { spawn } from "node:child_process";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface CommandResult {
  /** Exit code; undefined if the command is missing or was killed. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly environment: Environment;
  readonly cwd?: string;
  readonly deadlineMs?: number;
}

/** Never rejects: a missing command is a result without a code. */
export function runCommand(
  command: string,
  args: readonly string[],
  { environment, cwd, deadlineMs = 120_000 }: CommandOptions,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...environment, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: deadlineMs,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.once("error", (error) => resolve({ code: undefined, stdout, stderr: error.message }));
    child.once("close", (code) => resolve({ code: code ?? undefined, stdout, stderr }));
  });
}
