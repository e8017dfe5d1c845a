// The local run: the ports that the system uses for outgoing connections.
// Guarantees: as the kernel reports them; none if it does not (not Linux).
import { readFile } from "node:fs/promises";

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html#ip-variables, ip_local_port_range */
export async function readEphemeralPorts(
  file = "/proc/sys/net/ipv4/ip_local_port_range",
): Promise<PortRange | undefined> {
  const text = await readFile(file, "utf8").catch(() => "");
  const [, first, last] = /^(\d+)\s+(\d+)\s*$/.exec(text) ?? [];
  return first === undefined ? undefined : { first: Number(first), last: Number(last) };
}

/** @returns a sentence for a person, or undefined if none of the ports is in the range */
export function describeEphemeral(
  ports: readonly number[],
  range: PortRange | undefined,
): string | undefined {
  if (range === undefined || !ports.some((port) => range.first <= port && port <= range.last))
    return undefined;
  return (
    `from ${range.first} to ${range.last} the system gives ports to outgoing connections, so that one may be ` +
    "taken at any moment: set PETREL_PORT_BASE so that all ports lie outside"
  );
}
