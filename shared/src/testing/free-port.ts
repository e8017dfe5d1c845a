// Tests only: ports for servers that a test starts.
// Guarantees: each port was free on 127.0.0.1 a moment ago, and lies outside the range of outgoing connections. No other
// worker of the test run is given it, and this one not again for long: whoever asked may take its time to listen.
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const lowestPort = 12_000;
const highestPort = 32_000;
const attempts = 2_000;
/** More than there are workers. */
const shares = 16;
const portsOfShare = Math.floor((highestPort - lowestPort) / shares);
/** Of this process, one after the other: a port may be free only because its server has not started yet. */
const next: { place?: number } = {};

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
  for (let attempt = 0; attempt < attempts; attempt++) {
    let place = next.place ?? randomInt(portsOfShare);
    if (place + count > portsOfShare) place = 0;
    next.place = place + count;
    const ports = Array.from({ length: count }, (_, i) => lowest + place + i);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return lowest + place;
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
