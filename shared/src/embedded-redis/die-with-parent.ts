// Embedded Redis and the local run: child processes that must not outlive the one that started them.
// Guarantees: on Linux a child started so is asked to stop when its parent ends, even by SIGKILL; its pid is its own.
import { runCommand, type Environment } from "./run-command.js";

/**
 * What to put before a command: setpriv of util-linux sets PR_SET_PDEATHSIG (prctl(2)), then becomes the command.
 * @returns empty where there is no such tool: the command still runs, without this net
 */
export async function dieWithParentPrefix(environment: Environment): Promise<string[]> {
  const { stdout } = await runCommand("setpriv", ["--help"], { environment, deadlineMs: 5_000 });
  return stdout.includes("--pdeathsig") ? ["setpriv", "--pdeathsig", "TERM", "--"] : [];
}
