// Any request -> here: the address it comes from, for limits and logs.
// Guarantees: what a peer says about others counts only if the peer is a trusted proxy. Each address has one spelling,
// and one IPv6 network (/64) counts as one client.
import type { IncomingMessage } from "node:http";
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { ConfigError } from "../config.js";

/** The proxies whose `X-Forwarded-For` is trusted. */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly isEmpty: boolean;

  /**
   * @param entries addresses or CIDR blocks, IPv4 or IPv6
   * @throws ConfigError naming the entry that is neither
   */
  constructor(entries: readonly string[]) {
    this.isEmpty = entries.length === 0;
    for (const entry of entries) {
      const [, text = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
      const address = readAddress(text);
      const width = address === undefined ? 0 : isIPv4(address) ? 32 : 128;
      // A block of IPv4-mapped addresses is a block of IPv4.
      const mapped = address !== undefined && width === 32 && isIPv6(text) ? 96 : 0;
      const prefix = bits === undefined ? width : Number(bits) - mapped;
      if (address === undefined || prefix < 0 || prefix > width) {
        throw new ConfigError(
          `TRUSTED_PROXIES: ${JSON.stringify(entry)} is neither an address nor a block: write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32`,
        );
      }
      this.#list.addSubnet(address, prefix, width === 32 ? "ipv4" : "ipv6");
    }
  }

  /** @param address as `readAddress` spells it; "" if unknown */
  includes(address: string): boolean {
    return !this.isEmpty && address !== "" && this.#list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
  }
}

/**
 * The right-most address that is not a trusted proxy's. Each proxy appends the peer that reached it, so anything
 * further left may be the client's own invention.
 * @param peer the socket's other end; undefined once it is gone
 * @param forwardedFor the values of all `X-Forwarded-For` headers, joined by commas
 * @returns as `readAddress` spells it; "" if unknown
 */
export function clientAddress(
  peer: string | undefined,
  forwardedFor: string | undefined,
  trusted: TrustedProxies,
): string {
  let nearest = (peer === undefined ? undefined : readAddress(peer)) ?? "";
  if (forwardedFor === undefined || nearest === "" || !trusted.includes(nearest)) return nearest;
  let end = forwardedFor.length;
  while (end >= 0) {
    const comma = end === 0 ? -1 : forwardedFor.lastIndexOf(",", end - 1);
    const hop = readHop(forwardedFor.slice(comma + 1, end).trim());
    // A proxy that does not name its client is counted as the client.
    if (hop === undefined) return nearest;
    nearest = hop;
    if (!trusted.includes(hop)) return hop;
    end = comma;
  }
  return nearest;
}

/** The client's address. @returns as `clientAddress` does */
export function clientOf(
  { headers, socket }: Pick<IncomingMessage, "headers" | "socket">,
  trusted: TrustedProxies,
): string {
  const forwarded = headers["x-forwarded-for"];
  const joined = Array.isArray(forwarded) ? forwarded.join(",") : forwarded;
  return clientAddress(socket.remoteAddress, joined, trusted);
}

/** What a limit counts by: an IPv4 address, or an IPv6 network, because one client commands a whole /64. */
export function limitKeyOfAddress(address: string): string {
  // Most addresses are IPv4, so test for a colon before the long pattern of `isIPv6`.
  const groups = address.includes(":") && isIPv6(address) ? groupsOf(address) : undefined;
  if (groups === undefined) return address;
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/**
 * One spelling per address: IPv4-mapped IPv6 becomes IPv4, IPv6 follows RFC 5952 without a zone.
 * @returns undefined if this is not an address
 */
export function readAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text)) return undefined;
  const zone = text.indexOf("%");
  const bare = zone === -1 ? text : text.slice(0, zone);
  const groups = groupsOf(bare);
  if (groups === undefined) return undefined;
  const [a = 0, b = 0] = groups.slice(6);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
  return new URL(`http://[${bare}]`).hostname.slice(1, -1);
}

/** Some proxies add the port: `192.0.2.7:4711`, `[2001:db8::7]:4711`. */
function readHop(text: string): string | undefined {
  const [, bracketed, dotted] =
    /^(?:\[([^\]]*)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5})$/.exec(text) ?? [];
  return readAddress(bracketed ?? dotted ?? text);
}

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] | undefined {
  const [head = "", tail] = address.split("::");
  const left = readGroups(head);
  if (tail === undefined) return left.length === 8 ? left : undefined;
  const right = readGroups(tail);
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}

function readGroups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
