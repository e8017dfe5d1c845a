// Tests only: ports for servers that a test starts.
// Guarantees: each port was free on 127.0.0.1 a moment ago, and lies outside the range of outgoing connections.
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const lowestPort = 12_000;
const highestPort = 32_000;
const attempts = 200;

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  return freePortRange(1);
}

/**
 * The first of several neighbouring ports that nobody listens on.
 * @param count how many, starting with the one returned
 */
export async function freePortRange(count: number): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const first = randomInt(lowestPort, highestPort - count);
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
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
