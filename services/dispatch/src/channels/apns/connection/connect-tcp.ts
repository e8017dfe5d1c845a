// open-apns-session, connect-tunnel -> here: a TCP connection to a host name.
// Guarantees: resolves the name each time, so that a changed address is followed. Tries every address before giving up,
// each for at least a share of the time. Closes all sockets that it does not return.
import { lookup } from "node:dns/promises";
import { connect, type Socket } from "node:net";
import { describeError } from "@petrel/shared/kernel/errors";
import { unlessAborted } from "../../unless-aborted.js";

/** Resolves a host to all its addresses, best first. */
export type LookUp = (host: string) => Promise<readonly string[]>;

export interface ConnectTcpOptions {
  readonly host: string;
  readonly port: number;
  readonly lookUp?: LookUp;
  /** The time for one address. */
  readonly attemptTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** Uses getaddrinfo without a cache of our own. */
export async function lookUpAll(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}

/** @throws Error naming host, port and the error of each address */
export async function connectTcp(options: ConnectTcpOptions): Promise<Socket> {
  const { host, port, lookUp = lookUpAll, attemptTimeoutMs, signal } = options;
  const addresses = await unlessAborted(lookUp(bareHost(host)), signal);
  const faults: string[] = [];
  for (const address of addresses) {
    try {
      return await connectOnce(address, port, attemptTimeoutMs, signal);
    } catch (error) {
      signal.throwIfAborted();
      faults.push(describeError(error));
    }
  }
  throw new Error(`${host}:${port}: ${faults.length === 0 ? "no address" : faults.join("; ")}`);
}

/** @param host as in a URL, where IPv6 has brackets */
export function bareHost(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}

function connectOnce(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, noDelay: true });
    const give = (fault: Error | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.removeListener("error", give);
      socket.removeListener("connect", ready);
      if (fault === undefined) return resolve(socket);
      // Ignores a late error of a socket that nobody uses any more.
      socket.on("error", () => undefined);
      socket.destroy();
      reject(fault);
    };
    const ready = (): void => give(undefined);
    const abort = (): void => give(new Error("given up"));
    const timer = setTimeout(() => give(new Error(`${address} does not answer`)), timeoutMs);
    socket.once("error", give);
    socket.once("connect", ready);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
  });
}
