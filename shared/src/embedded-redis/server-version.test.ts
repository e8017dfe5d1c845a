// Tests which servers pass.
// Guarantees: both products' own words are understood, even though Valkey also claims to be an old Redis.
import { expect, test } from "vitest";
import { isSupported, parseInfo, parseVersionOutput } from "./server-version.js";

test.each([
  ["Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "Redis", "7.0.15", true],
  ["Redis server v=6.2.14 sha=00000000:0", "Redis", "6.2.14", false],
  ["Redis server v=10.0.0 sha=00000000:0", "Redis", "10.0.0", true],
  ["Valkey server v=7.2.5 sha=00000000:0", "Valkey", "7.2.5", true],
  ["Valkey server v=7.1.9 sha=00000000:0", "Valkey", "7.1.9", false],
])("%s", (output, product, version, supported) => {
  const parsed = parseVersionOutput(output);
  expect(parsed).toEqual({ product, version });
  expect(parsed !== undefined && isSupported(parsed)).toBe(supported);
});

test("finds no version in other text", () => {
  expect(parseVersionOutput("nginx version: nginx/1.22.1")).toBeUndefined();
  expect(parseInfo("# Server\r\n")).toBeUndefined();
});

test("reads INFO of both products", () => {
  expect(parseInfo("# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n")).toEqual({
    product: "Redis",
    version: "7.0.15",
  });
  expect(parseInfo("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n")).toEqual({
    product: "Valkey",
    version: "8.1.1",
  });
});
