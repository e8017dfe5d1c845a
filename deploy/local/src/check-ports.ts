// The local run: are the ports free?
// Guarantees: a port that somebody has is told before anything is started, with who wanted it.
import { createServer } from "node:net";
import { LocalRunError, systemErrorCode } from "./local-run-error.js";

export interface WantedPort {
  readonly port: number;
  /** Such as "auth" or "redis". */
  readonly by: string;
}

/** @throws LocalRunError naming every port that cannot be had */
export async function checkPorts(wanted: readonly WantedPort[]): Promise<void> {
  const results = await Promise.all(
    wanted.map(async (want) => ({ ...want, problem: await tryPort(want.port) })),
  );
  const taken = results.filter(({ problem }) => problem !== undefined);
  if (taken.length === 0) return;
  const list = taken.map(({ port, by, problem }) => `${port} (${by}${reason(problem)})`).join(", ");
  throw new LocalRunError(
    taken.length === 1
      ? `port ${list} is in use: stop what listens there, or set PETREL_PORT_BASE to another base`
      : `ports ${list} are in use: stop what listens there, or set PETREL_PORT_BASE to another base`,
  );
}

function reason(problem: string | undefined): string {
  return problem === "EADDRINUSE" ? "" : `, ${problem}`;
}

function tryPort(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(systemErrorCode(error) ?? error.message));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
