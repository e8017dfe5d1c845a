// Redis over TLS, as an ACL user with only the rights of docs/operate/redis.md.
// Guarantees: a message's whole way needs nothing else; another authority's certificate, and a wrong password, are
// refused at the start.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import {
  testAuthority,
  testCertificate,
  testCertificateKey,
} from "@petrel/shared/testing/tls/tls-certificate";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";

const logger = createLogger({ service: "test", level: "silent" });
let directory: string;
let server: TestRedis;
let admin: Redis;
let tlsPort: number;
let caFile: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-tls-"));
  caFile = join(directory, "ca.pem");
  const [certFile, keyFile] = [join(directory, "server.pem"), join(directory, "server.key")];
  await writeFile(caFile, testAuthority);
  await writeFile(certFile, testCertificate);
  await writeFile(keyFile, testCertificateKey, { mode: 0o600 });
  tlsPort = await freePort();
  const settings = {
    "tls-port": String(tlsPort),
    "tls-cert-file": certFile,
    "tls-key-file": keyFile,
    "tls-ca-cert-file": caFile,
    "tls-auth-clients": "no",
    appendfsync: "always",
  };
  const extraArgs = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  server = await startRedis({ appendOnly: true, extraArgs });
  admin = await connectRedis({ url: server.url, role: "admin", logger });
  const page = await readFile(new URL("../../docs/operate/redis.md", import.meta.url), "utf8");
  const rule = /^ACL SETUSER petrel (.*)$/m.exec(page)?.[1];
  if (rule === undefined) throw new Error("docs/operate/redis.md has no rule");
  await admin.call("ACL", "SETUSER", "petrel", ...rule.replace(">password", ">s3cret").split(" "));
});
afterAll(async () => {
  admin?.disconnect();
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

test("a message's whole way, with a Redis user that has only the documented rights", async () => {
  const cluster = await startCluster({
    together: true,
    redis: server,
    nodes: 1,
    environment: {
      REDIS_URL: `rediss://petrel:s3cret@127.0.0.1:${tlsPort}`,
      REDIS_CA_FILE: caFile,
      ACK_TIMEOUT_MS: "500",
      ACCEPT_DURABILITY: "aof",
    },
  });
  try {
    const post = (n: number): Promise<unknown> =>
      cluster.post("/v1/messages", { to: { user: "ada" }, data: { n } });
    const first = (await post(1)) as { id: string };
    const client = await connectClient({
      url: cluster.nodeUrls[0] ?? "",
      token: await cluster.tokenFor("ada"),
      ack: "none",
    });
    await post(2);
    await client.untilMessages(2);
    client.close();
    await post(3);
    const again = await connectClient({
      url: cluster.nodeUrls[0] ?? "",
      token: await cluster.tokenFor("ada"),
      ack: "each",
    });
    await again.untilMessages(3);
    await waitFor(
      async () => {
        const headers = { authorization: `Bearer ${cluster.apiKey}` };
        const response = await fetch(`${cluster.collect.url}/v1/messages/${first.id}`, { headers });
        return ((await response.json()) as { state: string }).state === "delivered";
      },
      { what: "the ack" },
    );
    again.close();
  } finally {
    await cluster.stop();
  }
  expect(await admin.call("ACL", "LOG")).toEqual([]);
});

test.each([
  ["no authority is named", (port: number) => ({ redisUrl: `rediss://petrel:s3cret@127.0.0.1:${port}` })],
  [
    "the password is wrong",
    (port: number) => ({ redisUrl: `rediss://petrel:wrong@127.0.0.1:${port}`, redisCaFile: caFile }),
  ],
])("refused where %s", async (_why, settings) => {
  const target = readRedisTarget(settings(tlsPort));
  await expect(connectRedis({ target, role: "test", logger })).rejects.toMatchObject({
    code: "PETREL_UNAVAILABLE",
    message: `Redis does not answer at rediss://127.0.0.1:${tlsPort}`,
  });
});
