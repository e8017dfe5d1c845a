// Tests only: ports for servers that a test starts.
// Guarantees: each port was free on 127.0.0.1 a moment ago, and lies outside the range of outgoing connections. No other
// worker of the test run is given it, and this one never twice: whoever asked may take its time to listen.
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const lowestPort = 12_000;
const highestPort = 32_000;
const attempts = 200;
/** More than there are workers. */
const shares = 16;
const portsOfShare = Math.floor((highestPort - lowestPort) / shares);
/** Of this process: a port may be free only because its server has not started yet. */
const given = new Set<number>();

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  return freePortRange(1);
}

/**
 * The first of several neighbouring ports that nobody listens on.
 * @param count how many, starting with the one returned
 */
export async function freePortRange(count: number): Promise<number> {
  // Vitest numbers its workers from 1; a process without a number is none of them.
  const share = Number(process.env["VITEST_POOL_ID"] ?? 0) % shares;
  const lowest = lowestPort + share * portsOfShare;
  // Those of the beginning have long been used, or never will be.
  if (given.size > portsOfShare / 2) given.clear();
  for (let attempt = 0; attempt < attempts; attempt++) {
    const first = randomInt(lowest, lowest + portsOfShare - count);
    const ports = Array.from({ length: count }, (_, i) => first + i);
    if (ports.some((port) => given.has(port))) continue;
    for (const port of ports) given.add(port);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row after ${attempts} attempts`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
