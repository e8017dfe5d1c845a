// Tests how the settings about Redis become one value.
// Guarantees: contradictory settings are refused by name; what is shown holds no password.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { redisSettings } from "../../kernel/common-settings.js";
import { readConfig } from "../../kernel/config.js";
import { readRedisTarget } from "./redis-target.js";

/** With the credentials as they would be used now. */
const read = (environment: Record<string, string>) => {
  const { access, ...target } = readRedisTarget(readConfig(redisSettings, environment));
  return { ...target, ...access.credentials };
};
const open = { username: undefined, password: undefined, sentinelPassword: undefined, tls: undefined };

test("a single server, by its URL", () => {
  expect(read({})).toEqual({
    kind: "standalone",
    address: "redis://127.0.0.1:6379",
    server: { host: "127.0.0.1", port: 6379 },
    database: 0,
    ...open,
  });
  expect(read({ REDIS_URL: "rediss://petrel:s%40cret@cache.example.test:7000/3" })).toEqual({
    kind: "standalone",
    address: "rediss://cache.example.test:7000",
    server: { host: "cache.example.test", port: 7000 },
    database: 3,
    username: "petrel",
    password: "s@cret",
    sentinelPassword: undefined,
    tls: {},
  });
  expect(read({ REDIS_URL: "redis://[::1]:7000" })).toMatchObject({ server: { host: "::1", port: 7000 } });
});

test("a password from a file", () => {
  const directory = mkdtempSync(join(tmpdir(), "petrel-target-"));
  const file = join(directory, "password");
  try {
    writeFileSync(file, "s3cret\n");
    const environment = { REDIS_URL: "redis://petrel@h", REDIS_PASSWORD_FILE: file };
    expect(read(environment)).toMatchObject({ username: "petrel", password: "s3cret", address: "redis://h" });
    expect(() => read({ ...environment, REDIS_URL: "redis://petrel:other@h" })).toThrow(/give one of them/);
    writeFileSync(file, "\n");
    expect(() => read(environment)).toThrow("REDIS_PASSWORD_FILE cannot be used: the file is empty");
  } finally {
    rmSync(directory, { recursive: true });
  }
  expect(() => read({ REDIS_PASSWORD_FILE: file })).toThrow(/REDIS_PASSWORD_FILE cannot be used: .*ENOENT/);
});

test("sentinels: the master's name, then its sentinels; access from the URL", () => {
  expect(
    read({
      REDIS_SENTINELS: "main@a:1, b.example.test ,[::1]:3",
      REDIS_URL: "redis://:hush@ignored/2",
      REDIS_SENTINEL_PASSWORD: "word",
    }),
  ).toEqual({
    kind: "sentinel",
    address: "sentinels main@a:1, b.example.test ,[::1]:3",
    masterName: "main",
    sentinels: [
      { host: "a", port: 1 },
      { host: "b.example.test", port: 26_379 },
      { host: "::1", port: 3 },
    ],
    database: 2,
    ...open,
    sentinelPassword: "word",
    password: "hush",
  });
});

test("a cluster: some of its nodes; access from the URL", () => {
  expect(read({ REDIS_CLUSTER: "a:1,b", REDIS_URL: "rediss://u:p@ignored" })).toEqual({
    kind: "cluster",
    address: "cluster a:1,b",
    seeds: [
      { host: "a", port: 1 },
      { host: "b", port: 6379 },
    ],
    username: "u",
    password: "p",
    sentinelPassword: undefined,
    tls: {},
  });
});

test.each([
  [{ REDIS_CLUSTER: "a:1", REDIS_SENTINELS: "m@b:1" }, /REDIS_SENTINELS and REDIS_CLUSTER.*at most one/],
  [{ REDIS_CLUSTER: "a:1,," }, /REDIS_CLUSTER must be a list of host:port, not ""/],
  [{ REDIS_CLUSTER: "a:70000" }, /REDIS_CLUSTER must be a list of host:port/],
  [{ REDIS_CLUSTER: "redis://a:1" }, /REDIS_CLUSTER must be a list of host:port/],
  [{ REDIS_CLUSTER: "a:1", REDIS_URL: "redis://h/2" }, /REDIS_URL names a database/],
  [{ REDIS_SENTINELS: "a:1,b:2" }, /REDIS_SENTINELS must be master-name@host:port/],
  [{ REDIS_SENTINELS: "main@" }, /REDIS_SENTINELS must be a list of host:port/],
  [{ REDIS_URL: "redis://h/x" }, /REDIS_URL must end with the number of a database/],
  [{ REDIS_CA_FILE: "/ca.pem" }, /REDIS_CA_FILE is set, but REDIS_URL is not rediss/],
  [{ REDIS_CA_FILE: "/no/such/ca.pem", REDIS_URL: "rediss://h" }, /REDIS_CA_FILE cannot be used: .*ENOENT/],
  [{ REDIS_CERT_FILE: "/c", REDIS_KEY_FILE: "/k" }, /REDIS_CERT_FILE is set, but REDIS_URL is not rediss/],
  [
    { REDIS_CERT_FILE: "/c", REDIS_URL: "rediss://h" },
    /REDIS_CERT_FILE and REDIS_KEY_FILE are needed together/,
  ],
  [
    { REDIS_KEY_FILE: "/k", REDIS_URL: "rediss://h" },
    /REDIS_CERT_FILE and REDIS_KEY_FILE are needed together/,
  ],
  [
    { REDIS_CERT_FILE: "/no/such", REDIS_KEY_FILE: "/k", REDIS_URL: "rediss://h" },
    /REDIS_CERT_FILE, REDIS_KEY_FILE cannot be used: .*ENOENT/,
  ],
  [{ REDIS_SENTINEL_PASSWORD_FILE: "/p" }, /REDIS_SENTINEL_PASSWORD_FILE is set, but REDIS_SENTINELS is not/],
  [
    { REDIS_SENTINELS: "m@a", REDIS_SENTINEL_PASSWORD: "x", REDIS_SENTINEL_PASSWORD_FILE: "/p" },
    /REDIS_SENTINEL_PASSWORD and REDIS_SENTINEL_PASSWORD_FILE are both set/,
  ],
  [{ REDIS_SENTINEL_PASSWORD: "x" }, /REDIS_SENTINEL_PASSWORD is set, but REDIS_SENTINELS is not/],
])("refuses %j", (environment, message) => {
  expect(() => read(environment as Record<string, string>)).toThrow(message);
});
