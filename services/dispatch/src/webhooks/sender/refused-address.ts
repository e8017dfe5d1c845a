// webhooks/sender/check-url, webhooks/sender/checked-lookup -> here: addresses that no webhook is posted to.
// Guarantees: only globally reachable unicast addresses pass (IANA's special-purpose registries). An address with an
// embedded IPv4 address (mapped, NAT64, 6to4, Teredo) is always refused.
import { BlockList, isIP } from "node:net";

const refusedV4 = subnets("ipv4", [
  "0.0.0.0/8", // this network
  "10.0.0.0/8",
  "100.64.0.0/10", // carrier-grade NAT
  "127.0.0.0/8",
  "169.254.0.0/16", // link-local, where clouds have their metadata service
  "172.16.0.0/12",
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16",
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, broadcast
]);

/** Everything else is loopback, link-local, unique-local, multicast, mapped, NAT64, or unassigned. */
const globalV6 = subnets("ipv6", ["2000::/3"]);
const refusedV6 = subnets("ipv6", [
  "2001::/23", // protocol assignments, Teredo
  "2001:db8::/32",
  "2002::/16", // 6to4
  "3fff::/20", // documentation
]);

function subnets(family: "ipv4" | "ipv6", ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits = ""] = range.split("/");
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/**
 * @param address from `dns.lookup`, or a URL's host without brackets; anything that is not an address is refused, too
 */
export function isRefusedAddress(address: string): boolean {
  // A zone, as in fe80::1%eth0, names the link.
  const [bare = ""] = address.split("%");
  switch (isIP(bare)) {
    case 4:
      return refusedV4.check(bare, "ipv4");
    case 6:
      return !globalV6.check(bare, "ipv6") || refusedV6.check(bare, "ipv6");
    default:
      return true;
  }
}
