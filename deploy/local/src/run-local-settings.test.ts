// Tests the settings of the local run, on a real Redis and pretended services: what each service is given, the user's own
// Redis and APNs, and what is refused.
// Guarantees: what cannot work is refused in one line, before anything starts; no password is shown.
import { readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PretendedRun } from "../../../test/support/local-run/pretended-run.js";
import type { DevFile } from "./data/dev-file.js";

let local: PretendedRun;
beforeAll(() => PretendedRun.prepare(), 120_000);
beforeEach(async () => void (local = await PretendedRun.open()));
afterEach(() => local.close());

test("each service gets its own settings over the user's, and the user's over the defaults", async () => {
  void local.run(["--nodes", "2"], {
    ACK_TIMEOUT_MS: "1234",
    PORT: "1",
    NODE_NAME: "mine",
    DRAIN_WINDOW_MS: "77",
    REDIS_PASSWORD_FILE: "/of/another/redis",
    ACCEPT_DURABILITY: "aof",
  });
  await local.untilSaid("Petrel runs");
  expect(await local.syncs(), "as ACCEPT_DURABILITY asks for").toBe("always");
  const [consoleEnv, auth, collect, dispatch, node] = await Promise.all(
    [0, 1, 2, 3, 11].map(local.environmentAt),
  );
  for (const environment of [consoleEnv, auth, collect, dispatch, node]) {
    expect(environment).toMatchObject({
      ACK_TIMEOUT_MS: "1234",
      DRAIN_WINDOW_MS: "77",
      HOST: "127.0.0.1",
      REDIS_URL: `redis://127.0.0.1:${local.base + 9}`,
      AUTH_URL: `http://127.0.0.1:${local.base + 1}`,
      ALLOWED_ORIGINS: `http://127.0.0.1:${local.base},http://localhost:${local.base}`,
    });
  }
  expect(node).toMatchObject({
    PORT: String(local.base + 11),
    METRICS_PORT: String(local.base + 31),
    NODE_NAME: "node-2",
  });
  expect(dispatch).toMatchObject({ PORT: String(local.base + 3), NODE_NAME: "dispatch-1" });
  expect(auth?.["METRICS_PORT"]).toBe(String(local.base + 8));
  expect(auth?.["NODE_NAME"]).toBeUndefined();
  expect(collect?.["METRICS_PORT"]).toBe(String(local.base + 7));

  const dev = await local.readJson<DevFile>(".data/dev.json");
  expect(consoleEnv).toMatchObject({ COLLECT_URL: dev.collect, NODE_URLS: dev.nodes.join(",") });
  const names = ["API_KEY_FILE", "REDIS_PASSWORD_FILE", "PRODUCER_KEYS_FILE", "KEY_ENCRYPTION_FILE"];
  const files = names.map((name) => consoleEnv?.[name] ?? auth?.[name] ?? "");
  for (const file of files) expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(files[0] ?? "", "utf8")).toBe(`${dev.apiKey}.${dev.apiSecret}\n`);
  expect(`${new URL(dev.redis).password}\n`).toBe(await readFile(files[1] ?? "", "utf8"));
});

test("a service's last lines show no password", async () => {
  const reason = "no answer of redis://:hush@127.0.0.1:7";
  expect(await local.run([], { PRETEND_BROKEN: "auth", PRETEND_REASON: reason })).toBe(1);
  expect(local.complaints).toEqual([expect.stringContaining("redis://:[redacted]@127.0.0.1:7")]);
});

test("reports a busy port, and who needs it, before anything starts", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(local.base + 10, "127.0.0.1", resolve));
  expect(await local.run()).toBe(1);
  // Somebody else's connection may hold another of them just now.
  const busy = `^ports? .*\\b${local.base + 10} \\(push-node-1\\).* (is|are) in use`;
  expect(local.complaints).toEqual([expect.stringMatching(busy)]);
  expect(local.lines).toEqual([]);
  await new Promise((resolve) => server.close(resolve));
});

test("refuses a data directory that is not writable", async () => {
  await writeFile(local.data, "a file is in its place");
  expect(await local.run()).toBe(1);
  expect(local.complaints).toEqual([
    expect.stringMatching(/^the data directory .* cannot be written to \(E/),
  ]);
});

/** Two starts for what the user may bring along. */
describe("the user's own Redis and APNs", () => {
  let redis: TestRedis;
  let closed: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
    closed = await startRedis({ password: "p@ss" });
  });
  afterAll(async () => {
    await redis.stop();
    await closed.stop();
  });

  test("Redis may have its password in a file; APNs may be elsewhere, and gets no authority of ours", async () => {
    const file = join(local.root, "password");
    await writeFile(file, "p@ss\n");
    const bare = `redis://127.0.0.1:${closed.port}`;
    const theirs = { REDIS_URL: bare, REDIS_PASSWORD_FILE: file };
    void local.run([], { ...theirs, APNS_ENDPOINT: "https://push.example:2197", APNS_CA_FILE: "" });
    await local.untilSaid("Petrel runs");
    expect(await local.environmentAt(1)).toMatchObject(theirs);
    const dev = await local.readJson<DevFile>(".data/dev.json");
    expect(await probeRedis(dev.redis, [["PING"]])).toEqual(["PONG"]);
    const dispatch = await local.environmentAt(3);
    expect(dispatch["APNS_ENDPOINT"]).toBe("https://push.example:2197");
    expect(dispatch["APNS_KEY_ID"]).toMatch(/^[A-Z0-9]{10}$/);
    expect([dispatch["APNS_CA_FILE"], dispatch["APNS_SANDBOX_ENDPOINT"]]).toEqual([undefined, undefined]);
  });

  test("Redis has one password: in its address or in a file", async () => {
    const file = join(local.root, "password");
    await writeFile(file, "p@ss\n");
    expect(await local.run([], { REDIS_URL: closed.url, REDIS_PASSWORD_FILE: file })).toBe(1);
    expect(local.complaints).toEqual([expect.stringMatching(/give one of them/)]);
  });

  test("a Redis that evicts, or is not there, is refused; a key for APNs goes to no simulator", async () => {
    await probeRedis(redis.url, [["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]]);
    expect(await local.run([], { REDIS_URL: redis.url })).toBe(1);
    expect(local.complaints[0]).toMatch(/evicts \(maxmemory-policy allkeys-lru\)/);
    await probeRedis(redis.url, [["CONFIG", "SET", "maxmemory-policy", "noeviction"]]);
    local.complaints = [];
    const key = { APNS_KEY_FILE: "/own.p8", APNS_KEY_ID: "OWN0000001" };
    void local.run([], { REDIS_URL: redis.url, ...key });
    await local.untilSaid("Petrel runs");
    expect((await local.readJson<DevFile>(".data/dev.json")).redis).toBe(redis.url);
    expect((await local.environmentAt(1))["REDIS_URL"]).toBe(redis.url);
    await expect(probeRedis(`redis://127.0.0.1:${local.base + 9}`, [["PING"]])).rejects.toThrow(
      /ECONNREFUSED/,
    );
    const dispatch = await local.environmentAt(3);
    expect(dispatch).toMatchObject(key);
    expect(["APNS_TEAM_ID", "APNS_ENDPOINT", "APNS_CA_FILE"].filter((name) => name in dispatch)).toEqual([]);
    local.stop.abort();
    await local.running;
    await redis.stop();
    local.stop = new AbortController();
    expect(await local.run([], { REDIS_URL: redis.url.replace("//", "//:secret@") })).toBe(1);
    expect(local.complaints[0]).toMatch(/cannot be reached: .*ECONNREFUSED/);
    expect(local.complaints[0]).not.toContain("secret");
  });
});

test("refuses wrong options and settings", async () => {
  expect(await local.run(["--node", "3"])).toBe(2);
  expect(await local.run(["--nodes", "0"])).toBe(2);
  expect(await local.run([], { PETREL_PORT_BASE: "seventy" })).toBe(1);
  expect(await local.run([], { REDIS_URL: "localhost:6379" })).toBe(1);
  expect(local.complaints).toEqual([
    "Unknown option '--node' (npm start -- --help lists the options)",
    '--nodes must be a whole number from 1 to 10, not "0"',
    'PETREL_PORT_BASE must be a port from 1 to 65496, not "seventy"',
    "REDIS_URL must be redis://[user:password@]host:port[/db] or rediss://…",
  ]);
  expect(await local.run(["--help"])).toBe(0);
  expect(local.said("--dispatchers N")).toBe(true);
});
