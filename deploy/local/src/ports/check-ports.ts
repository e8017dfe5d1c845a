// The local run: are the ports free?
// Guarantees: a port in use is reported before anything starts, with the part that needs it.
import { createServer } from "node:net";
import { describeEphemeral, type PortRange } from "./ephemeral-ports.js";
import { LocalRunError, systemErrorCode } from "../local-run-error.js";

export interface WantedPort {
  readonly port: number;
  /** Such as "auth" or "redis". */
  readonly by: string;
}

/**
 * @param ephemeral the range for outgoing connections
 * @throws LocalRunError naming every port that is not available
 */
export async function checkPorts(
  wanted: readonly WantedPort[],
  ephemeral: PortRange | undefined,
): Promise<void> {
  const results = await Promise.all(
    wanted.map(async (want) => ({ ...want, problem: await tryPort(want.port) })),
  );
  const taken = results.filter(({ problem }) => problem !== undefined);
  if (taken.length === 0) return;
  const list = taken.map(({ port, by, problem }) => `${port} (${by}${reason(problem)})`).join(", ");
  const what = taken.length === 1 ? `port ${list} is in use` : `ports ${list} are in use`;
  const advice =
    describeEphemeral(
      taken.map(({ port }) => port),
      ephemeral,
    ) ?? "stop what listens there, or set PETREL_PORT_BASE to another base";
  throw new LocalRunError(`${what}: ${advice}`);
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
