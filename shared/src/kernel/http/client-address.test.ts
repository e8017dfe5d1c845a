// Tests which address a request counts by: by cases, and by properties over invented chains of proxies.
// Guarantees: no header that a client sends moves it to another address.
import { isIP } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clientAddress, limitKeyOfAddress, readAddress, TrustedProxies } from "./client-address.js";

const proxies = new TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48", "::1"]);

describe("a trusted proxy's X-Forwarded-For", () => {
  test.each([
    ["one hop", "10.1.2.3", "203.0.113.9", "203.0.113.9"],
    ["two of ours", "10.1.2.3", "203.0.113.9, 10.9.9.9", "203.0.113.9"],
    ["an invented hop before it", "10.1.2.3", "198.51.100.1, 203.0.113.9", "203.0.113.9"],
    ["an invented hop of ours before it", "10.1.2.3", "10.0.0.1, 203.0.113.9, 10.5.5.5", "203.0.113.9"],
    ["only ours", "10.1.2.3", "10.9.9.9", "10.9.9.9"],
    ["with ports", "10.1.2.3", "203.0.113.9:4711", "203.0.113.9"],
    ["IPv6 in brackets", "::1", "[2001:db8:2::9]:4711", "2001:db8:2::9"],
    ["a mapped peer", "::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"],
    ["a mapped hop", "10.1.2.3", "::ffff:203.0.113.9", "203.0.113.9"],
    ["a mapped hop of ours", "10.1.2.3", "203.0.113.9, ::ffff:10.2.2.2", "203.0.113.9"],
    ["IPv6 spelt at length", "192.0.2.7", "2001:0DB8:0002:0:0:0:0:0009", "2001:db8:2::9"],
    ["nothing in it", "10.1.2.3", "", "10.1.2.3"],
    ["nonsense nearest to us", "10.1.2.3", "203.0.113.9, unknown", "10.1.2.3"],
    ["garbage after one of ours", "10.1.2.3", "unknown, 10.9.9.9", "10.9.9.9"],
    ["an empty entry", "10.1.2.3", "203.0.113.9,", "10.1.2.3"],
    ["none at all", "10.1.2.3", undefined, "10.1.2.3"],
  ])("%s", (_name, peer, header, address) => expect(clientAddress(peer, header, proxies)).toBe(address));
});

test.each(["203.0.113.9", "2001:db8:2::9", "192.0.2.8", "11.0.0.1"])("ignores what %s says", (peer) => {
  expect(clientAddress(peer, "198.51.100.1", proxies)).toBe(peer);
  expect(clientAddress(peer, "10.0.0.1", new TrustedProxies([]))).toBe(peer);
});

test("a closed socket has no address", () => {
  expect(clientAddress(undefined, "203.0.113.9", proxies)).toBe("");
});

describe("what a limit counts by", () => {
  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"],
    ["2001:db8:2:3::", "2001:db8:2:3::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["", ""],
  ])("%s -> %s", (address, key) => expect(limitKeyOfAddress(address)).toBe(key));
});

test.each([
  "10.0.0.0/33",
  "::/129",
  "10.0.0/8",
  "proxy.internal",
  "10.0.0.0/",
  "",
  "10.0.0.0/-1",
  "::ffff:10.0.0.0/90",
])("%j is not a block", (entry) => expect(() => new TrustedProxies([entry])).toThrow(/TRUSTED_PROXIES/));

test("a block of mapped addresses is an IPv4 block", () => {
  expect(new TrustedProxies(["::ffff:10.0.0.0/104"]).includes("10.200.0.1")).toBe(true);
  expect(new TrustedProxies(["0.0.0.0/0"]).includes("203.0.113.9")).toBe(true);
});

const outside = fc.oneof(
  fc.ipV4().filter((address) => !proxies.includes(address)),
  fc
    .ipV6()
    .map((address) => readAddress(address) ?? "")
    .filter((address) => isIP(address) > 0 && !proxies.includes(address)),
);
const ours = fc.constantFrom(
  "10.1.2.3",
  "10.255.0.1",
  "192.0.2.7",
  "2001:db8:1::5",
  "::1",
  "::ffff:10.3.3.3",
);
const anything = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 20 }), ours);

test("counts a client by the address it comes from, whatever it writes into the header", () => {
  fc.assert(
    fc.property(
      fc.array(anything, { maxLength: 5 }),
      outside,
      fc.array(ours, { maxLength: 4 }),
      ours,
      (invented, client, hops, peer) => {
        const header = [...invented, client, ...hops].join(", ");
        expect(clientAddress(peer, header, proxies)).toBe(client);
        expect(clientAddress(client, header, proxies)).toBe(client);
      },
    ),
    { numRuns: 500 },
  );
});

test("gives one network one key, and one address one spelling", () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const address = readAddress(text) ?? "";
      expect(isIP(address)).not.toBe(0);
      expect(readAddress(address)).toBe(address);
      expect(readAddress(address.toUpperCase())).toBe(address);
    }),
    { numRuns: 500 },
  );
  const group = fc.integer({ min: 0, max: 0xffff }).map((n) => n.toString(16));
  const half = fc.array(group, { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(half, half, half, (network, one, other) => {
      fc.pre(network[0] !== "0");
      const keys = [one, other].map((host) =>
        limitKeyOfAddress(readAddress([...network, ...host].join(":")) ?? ""),
      );
      expect(keys[0]).toBe(keys[1]);
    }),
    { numRuns: 300 },
  );
});

test("any text gives an address or none, never an exception", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      expect(() => clientAddress("10.1.2.3", text, proxies)).not.toThrow();
      expect(() => clientAddress(text, text, proxies)).not.toThrow();
    }),
    { numRuns: 500 },
  );
});
