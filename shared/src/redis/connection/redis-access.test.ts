// Tests which credentials links to Redis are opened with when the files change: on a server, behind a sentinel and on a
// cluster, all with TLS, client certificates and passwords.
// Guarantees: an open link lives on, and the next one uses what the files say then; an unusable file is logged once and
// changes nothing.
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger, type Logger } from "../../kernel/logging/logging.js";
import { freePort } from "../../testing/free-port.js";
import { makeAuthority } from "../../testing/tls/make-authority.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { startRedisCluster } from "../../testing/redis/start-redis-cluster.js";
import type { TestIdentity } from "../../testing/tls/tls-identities.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "./connect.js";
import { allPartitionKeys } from "../keys.js";
import { subscribeNode } from "../nodes/node-subscription.js";
import { RedisAccess } from "./redis-access.js";
import { readRedisTarget, type RedisTarget } from "./redis-target.js";

const silent = createLogger({ service: "test", level: "silent" });
const [first, second] = [makeAuthority("first authority"), makeAuthority("second authority")];
const HOUR_MS = 3_600_000;
let directory: string;
let said: string[];
const closers: (() => unknown)[] = [];
const logger = {
  info: ({ what }: { what?: string }, text: string) => void said.push(`${what}: ${text}`),
  warn: ({ what, reason }: { what?: string; reason?: string }, text: string) =>
    void said.push(`${what}: ${text}: ${reason}`),
} as unknown as Logger;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "petrel-access-"));
  said = [];
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(directory, { recursive: true, force: true });
});

const file = (name: string): string => join(directory, name);
function put(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(file(name), text);
}
const pairOf = ({ cert, key }: TestIdentity) => ({ "client.pem": cert, "client.key": key });
const ACCESS_FILES = {
  redisPasswordFile: () => file("password"),
  redisCaFile: () => file("ca.pem"),
  redisCertFile: () => file("client.pem"),
  redisKeyFile: () => file("client.key"),
};
const accessFiles = () =>
  Object.fromEntries(Object.entries(ACCESS_FILES).map(([name, path]) => [name, path()]));

describe("the files", () => {
  const open = (): RedisAccess =>
    new RedisAccess({
      passwordFile: file("password"),
      isEncrypted: true,
      caFile: file("ca.pem"),
      certFile: file("client.pem"),
      keyFile: file("client.key"),
    });
  const old = first.issue("old");
  beforeEach(() => put({ password: "one\n", "ca.pem": first.cert, ...pairOf(old) }));

  test("are read each time", () => {
    const access = open();
    const next = second.issue("next");
    put({ password: "two", "ca.pem": second.cert, ...pairOf(next) });
    expect(access.credentials).toMatchObject({ password: "one", tls: { ca: first.cert, ...old } });
    expect(access.readAgain(logger)).toMatchObject({ password: "two", tls: { ca: second.cert, ...next } });
    access.readAgain(logger);
    expect(said).toEqual(
      ["password", "authorities", "client certificate"].map(
        (what) => `${what}: redis: settings for new connections changed`,
      ),
    );
  });

  const next = first.issue("next");
  const soon = first.issue("soon", { fromMs: Date.now() + HOUR_MS });
  const kept = "redis: a file cannot be used; keeping the previous values";
  test.each<[string, Record<string, string>, string, RegExp]>([
    [
      "half of a pair",
      { "client.pem": next.cert },
      "client certificate",
      /the key does not match the certificate/,
    ],
    ["a certificate that is not yet valid", pairOf(soon), "client certificate", /is not valid before/],
    ["no certificate", { "client.pem": "-" }, "client certificate", /./],
    ["no authority", { "ca.pem": "" }, "authorities", /./],
    ["an empty password", { password: "\n" }, "password", /the file is empty/],
  ])("that hold %s change nothing, and that is logged once", (_what, files, part, reason) => {
    const access = open();
    const before = access.credentials;
    put(files);
    expect(access.readAgain(logger)).toEqual(before);
    expect(access.readAgain(logger)).toEqual(before);
    expect(said).toHaveLength(1);
    expect(said[0]).toContain(`${part}: ${kept}: `);
    expect(said[0]).toMatch(reason);
    // The files beside it that are right still count.
    put(part === "password" ? { "ca.pem": second.cert } : { password: "two" });
    expect(access.readAgain(logger)).not.toEqual(before);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      "another certificate's key",
      { "client.pem": next.cert },
      /^REDIS_CERT_FILE, REDIS_KEY_FILE cannot be used: /,
    ],
    [
      "a certificate that is not yet valid",
      pairOf(soon),
      /cannot be used: the certificate is not valid before/,
    ],
    ["no authority", { "ca.pem": "" }, /^REDIS_CA_FILE cannot be used: /],
  ])("are refused at the start with %s", (_what, files, message) => {
    put(files);
    expect(open).toThrow(message);
  });
});

/** The arguments of a server that asks for a password and a certificate, at a port with TLS. */
function tlsArguments(tlsPort: number, more: Readonly<Record<string, string>> = {}): string[] {
  const { cert, key } = first.issue("server");
  put({ [`server-${tlsPort}.pem`]: cert, [`server-${tlsPort}.key`]: key, "server-ca.pem": first.cert });
  const settings = {
    "tls-port": String(tlsPort),
    "tls-cert-file": file(`server-${tlsPort}.pem`),
    "tls-key-file": file(`server-${tlsPort}.key`),
    "tls-ca-cert-file": file("server-ca.pem"),
    "tls-auth-clients": "yes",
    ...more,
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

/** What an operator does, over an unencrypted link without a password. */
async function administer({ url }: Pick<TestRedis, "url">): Promise<Redis> {
  const admin = await connectRedis({ url, role: "admin", logger: silent });
  closers.push(() => admin.disconnect());
  // The administrator's own user keeps no password; services use another one.
  await admin.call("ACL", "SETUSER", "petrel", "on", ">one", "~*", "&*", "+@all");
  return admin;
}

/** Changes the server's certificate, the authority that it trusts for clients, and the password, all at once. */
async function rotateServer(admin: Redis, tlsPort: number): Promise<void> {
  const { cert, key } = second.issue("server");
  await writeFile(file(`server-${tlsPort}.pem`), cert);
  await writeFile(file(`server-${tlsPort}.key`), key);
  await writeFile(file("server-ca.pem"), second.cert);
  await admin.call(
    "CONFIG",
    "SET",
    "tls-cert-file",
    file(`server-${tlsPort}.pem`),
    "tls-key-file",
    file(`server-${tlsPort}.key`),
    "tls-ca-cert-file",
    file("server-ca.pem"),
  );
  await admin.call("ACL", "SETUSER", "petrel", "<one", ">two");
}

function rotateFiles(): void {
  put({ password: "two\n", "ca.pem": second.cert, ...pairOf(second.issue("client")) });
}

async function connect(target: RedisTarget): Promise<Redis> {
  const redis = await connectRedis({ target, role: "commands", logger: silent });
  closers.push(() => redis.disconnect());
  return redis;
}

const isServed = async (redis: Redis): Promise<boolean> => {
  try {
    return (await redis.set("petrel:probe", "1")) === "OK";
  } catch {
    return false;
  }
};
const cut = (admin: Redis) => admin.call("CLIENT", "KILL", "USER", "petrel");

describe("a link", () => {
  beforeEach(() => put({ password: "one", "ca.pem": first.cert, ...pairOf(first.issue("client")) }));

  test("to a server survives a rotation and is reopened with the new files; old files work again when fixed", async () => {
    const port = await freePort();
    const redisServer = await startRedis({ extraArgs: tlsArguments(port) });
    closers.push(() => redisServer.stop());
    const admin = await administer(redisServer);
    const redis = await connect(
      readRedisTarget({ redisUrl: `rediss://petrel@127.0.0.1:${port}`, ...accessFiles() }),
    );
    let closed = 0;
    redis.on("close", () => closed++);
    await rotateServer(admin, port);
    expect(await isServed(redis)).toBe(true);
    expect(closed).toBe(0);
    // Nobody has changed the files, so it does not come back.
    const failed = once(redis, "error");
    await cut(admin);
    await failed;
    expect(await isServed(redis)).toBe(false);
    rotateFiles();
    await waitFor(() => isServed(redis), { what: "the link with new credentials" });
  });

  test("whose password is wrong recovers when the file is right", async () => {
    const redisServer = await startRedis();
    closers.push(() => redisServer.stop());
    const admin = await administer(redisServer);
    const redis = await connect(
      readRedisTarget({
        redisUrl: `redis://petrel@127.0.0.1:${redisServer.port}`,
        redisPasswordFile: file("password"),
      }),
    );
    await admin.call("ACL", "SETUSER", "petrel", "<one", ">two");
    const reasons: string[] = [];
    redis.on("error", (error: Error) => reasons.push(error.message));
    await cut(admin);
    await waitFor(() => reasons.some((reason) => reason.includes("WRONGPASS")), { what: "the refusal" });
    put({ password: "two" });
    await waitFor(() => isServed(redis), { what: "the link with the new password" });
  });

  test("to a master behind a sentinel, and to the sentinel itself", async () => {
    const [port, sentinelPort] = [await freePort(), await freePort()];
    const master = await startRedis({ extraArgs: tlsArguments(port) });
    closers.push(() => master.stop());
    await writeFile(file("sentinel.conf"), `sentinel monitor main 127.0.0.1 ${port} 1\n`);
    const sentinelServer = await startRedis({
      configFile: file("sentinel.conf"),
      port: await freePort(),
      extraArgs: ["--sentinel", ...tlsArguments(sentinelPort, { "tls-replication": "yes" })],
    });
    closers.push(() => sentinelServer.stop());
    const admin = await administer(master);
    const sentinel = await connectRedis({ url: sentinelServer.url, role: "admin", logger: silent });
    closers.push(() => sentinel.disconnect());
    put({ "sentinel-password": "sentinel one" });
    // Its default user, since ioredis names no user to a sentinel; the administrator's link is authenticated already.
    await sentinel.call("ACL", "SETUSER", "default", "resetpass", ">sentinel one");
    const redis = await connect(
      readRedisTarget({
        redisUrl: "rediss://petrel@ignored",
        redisSentinels: `main@127.0.0.1:${sentinelPort}`,
        redisSentinelPasswordFile: file("sentinel-password"),
        ...accessFiles(),
      }),
    );
    const listeners = async (): Promise<number> =>
      String(await sentinel.call("CLIENT", "LIST", "TYPE", "pubsub"))
        .split("\n")
        .filter((line) => line !== "").length;
    await waitFor(async () => (await listeners()) === 1, { what: "the sentinel to be heard" });

    await rotateServer(admin, port);
    await sentinel.call("ACL", "SETUSER", "default", "resetpass", ">sentinel two");
    rotateFiles();
    // The sentinel keeps its certificates, so clients trust both authorities, as in a rotation.
    put({
      "sentinel-password": "sentinel two",
      "ca.pem": first.cert + second.cert,
      ...pairOf(first.issue("client")),
    });
    // As the master does, since its clients may come with either certificate.
    await writeFile(file("server-ca.pem"), first.cert + second.cert);
    await admin.call("CONFIG", "SET", "tls-ca-cert-file", file("server-ca.pem"));
    await sentinel.call("CLIENT", "KILL", "TYPE", "pubsub");
    let opened = 0;
    redis.on("ready", () => opened++);
    redis.on("error", () => undefined);
    await cut(admin);
    await waitFor(() => opened > 0, { what: "another link" });
    await waitFor(() => isServed(redis), { what: "the link by the new sentinel password" });
    await waitFor(async () => (await listeners()) === 1, { what: "the sentinel to be heard again" });
  }, 60_000);

  test("to each node of a cluster, for commands and for subscriptions", async () => {
    const ports = [await freePort(), await freePort()];
    const cluster = await startRedisCluster({
      masters: 2,
      replicas: 0,
      extraArgsOf: (i) => tlsArguments(ports[i] ?? 0, { "tls-cluster": "yes" }),
    });
    closers.push(() => cluster.stop());
    const admins = await Promise.all(cluster.nodes.map(administer));
    const target = readRedisTarget({
      redisUrl: "rediss://petrel@ignored",
      redisCluster: ports.map((port) => `127.0.0.1:${port}`).join(","),
      ...accessFiles(),
    });
    const [redis, subscriber] = [await connect(target), await connect(target)];
    const partitions = allPartitionKeys(4);
    let resubscribed = 0;
    const heard: string[] = [];
    const subscription = await subscribeNode({
      redis: subscriber,
      partitions,
      nodeId: "node",
      logger: silent,
      onText: (text) => void heard.push(text),
      onResubscribed: () => resubscribed++,
    });
    closers.push(() => subscription.stop());
    const areServed = async (): Promise<boolean> => {
      const writes = partitions.map(({ due }) => redis.set(`${due}:probe`, "1").then(Boolean, () => false));
      return (await Promise.all(writes)).every(Boolean);
    };
    await waitFor(areServed, { what: "every partition" });

    // Among themselves the nodes keep a certificate that they all trust.
    await writeFile(file("server-ca.pem"), first.cert + second.cert);
    for (const [i, admin] of admins.entries()) {
      await admin.call("CONFIG", "SET", "tls-ca-cert-file", file("server-ca.pem"));
      const { cert, key } = second.issue("server");
      const name = file(`server-${ports[i]}`);
      await writeFile(`${name}.pem`, cert);
      await writeFile(`${name}.key`, key);
      await admin.call("CONFIG", "SET", "tls-cert-file", `${name}.pem`, "tls-key-file", `${name}.key`);
      await admin.call("ACL", "SETUSER", "petrel", "<one", ">two");
    }
    expect(await areServed()).toBe(true);
    rotateFiles();
    for (const admin of admins) await cut(admin);
    await waitFor(areServed, { what: "every partition with new credentials", deadlineMs: 20_000 });
    await waitFor(() => resubscribed > 0 && subscription.isActive(), {
      what: "the subscriptions with new credentials",
      deadlineMs: 20_000,
    });
  }, 60_000);
});
