// Embedded Redis and the local run: child processes that must not outlive their parent.
// Guarantees: on Linux such a child is asked to stop when its parent ends, even by SIGKILL; its pid is its own.
import { runCommand, type Environment } from "./run-command.js";

/**
 * A prefix for a command: setpriv of util-linux sets PR_SET_PDEATHSIG (prctl(2)), then becomes the command.
 * @returns empty if the tool is missing: the command still runs, without this safety net
 */
export async function dieWithParentPrefix(environment: Environment): Promise<string[]> {
  const { stdout } = await runCommand("setpriv", ["--help"], { environment, deadlineMs: 5_000 });
  return stdout.includes("--pdeathsig") ? ["setpriv", "--pdeathsig", "TERM", "--"] : [];
}
