// Flow: everything that rotates does so under load: Redis' authority, its password, the services' certificate and the
// encryption key, while producers send signed requests and a client listens.
// Guarantees: no step of docs/operate refuses a request or loses a message; once Redis no longer accepts the old
// material, links that break reopen with the new; no process was restarted.
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { freePort } from "@petrel/shared/testing/free-port";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { makeAuthority } from "@petrel/shared/testing/tls/make-authority";
import type { TestIdentity } from "@petrel/shared/testing/tls/tls-identities";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../support/sizes.js";

const logger = createLogger({ service: "test", level: "silent" });
const [before, after] = [makeAuthority("authority before"), makeAuthority("authority after")];
const [oldKey, newKey] = [randomBytes(32).toString("base64"), randomBytes(32).toString("base64")];
const PRODUCERS = 4;
/** Between an answer and the next request of each. */
const PAUSE_MS = sized(20, 60);

let directory: string;
let server: TestRedis;
let admin: Redis;
let cluster: TestCluster;

const file = (name: string): string => join(directory, name);
/** As an operator does: never half a file. */
async function put(name: string, text: string): Promise<void> {
  await writeFile(file(`${name}.new`), text, { mode: 0o600 });
  await rename(file(`${name}.new`), file(name));
}
async function putPair(name: string, { cert, key }: TestIdentity): Promise<void> {
  await put(`${name}.pem`, cert);
  await put(`${name}.key`, key);
}
const configure = (...words: readonly string[]) => admin.call("CONFIG", "SET", ...words);
const SERVER_FILES = ["tls-cert-file", "server.pem", "tls-key-file", "server.key"] as const;
const serverFiles = () => SERVER_FILES.map((word, i) => (i % 2 === 0 ? word : file(word)));

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-rotation-"));
  await putPair("server", before.issue("server"));
  await put("clients-ca.pem", before.cert);
  await putPair("client", before.issue("client"));
  await put("redis-ca.pem", before.cert);
  await put("password", "one\n");
  await put("key-encryption", `${oldKey}\n`);
  const tlsPort = await freePort();
  const settings = {
    "tls-port": String(tlsPort),
    "tls-cert-file": file("server.pem"),
    "tls-key-file": file("server.key"),
    "tls-ca-cert-file": file("clients-ca.pem"),
    "tls-auth-clients": "yes",
  };
  const extraArgs = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  server = await startRedis({ extraArgs });
  admin = await connectRedis({ url: server.url, role: "admin", logger });
  await admin.call("ACL", "SETUSER", "petrel", "on", ">one", "~*", "&*", "+@all");
  cluster = await startCluster({
    redis: server,
    nodes: 1,
    collects: 2,
    // The others are told to read their keys again.
    together: (name) => name.startsWith("push-node"),
    environment: {
      REDIS_URL: `rediss://petrel@127.0.0.1:${tlsPort}`,
      REDIS_PASSWORD_FILE: file("password"),
      REDIS_CA_FILE: file("redis-ca.pem"),
      REDIS_CERT_FILE: file("client.pem"),
      REDIS_KEY_FILE: file("client.key"),
      KEY_ENCRYPTION_FILE: file("key-encryption"),
      // A busy machine must not count as a refusal.
      ACCEPT_DEADLINE_MS: "20000",
    },
  });
});
afterAll(async () => {
  await cluster?.stop();
  admin?.disconnect();
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

let count = 0;
async function sendSigned(url: string): Promise<{ readonly status: number; readonly text: string }> {
  const number = ++count;
  const body = JSON.stringify({ to: { user: "ada" }, data: { number } });
  const [keyId = "", secret = ""] = cluster.apiKey.split(".");
  const id = `nonce-${number}`;
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const bodySha256 = createHash("sha256").update(body).digest("hex");
  const content = { id, timestamp, method: "POST", target: "/v1/messages", bodySha256 };
  const answer = await fetch(`${url}/v1/messages`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "petrel-key": keyId,
      "petrel-id": id,
      "petrel-timestamp": timestamp,
      "petrel-signature": `v1,${signRequest(content, secret)}`,
    },
  });
  return { status: answer.status, text: await answer.text() };
}

let load: ReturnType<typeof produce>;
afterEach(() => load?.stop());

/** Producers that send one message after another until they are stopped. */
function produce() {
  const refused: string[] = [];
  let accepted = 0;
  let isOver = false;
  const loops = Array.from({ length: PRODUCERS }, async (_, i) => {
    const { url } = cluster.collects[i % cluster.collects.length] ?? cluster.collect;
    while (!isOver) {
      const { status, text } = await sendSigned(url);
      if (status === 202) accepted++;
      else refused.push(`${status} ${text}`);
      await sleep(PAUSE_MS);
    }
  });
  return {
    refused,
    accepted: () => accepted,
    /** Resolves when some more have been accepted: the load goes on. */
    goesOn: async (what: string): Promise<void> => {
      const goal = accepted + 2 * PRODUCERS;
      await waitFor(() => accepted >= goal || refused.length > 0, { what, deadlineMs: 60_000 });
      expect(refused, what).toEqual([]);
    },
    stop: async (): Promise<void> => {
      isOver = true;
      await Promise.all(loops);
    },
  };
}

/** The ids of the services' user's connections; Redis lists them in no order. */
async function links(): Promise<string[]> {
  const list = String(await admin.call("CLIENT", "LIST"));
  const ids = list.split("\n").flatMap((line) => {
    const [, id] = / user=petrel /.test(line) ? (/^id=(\d+) /.exec(line) ?? []) : [];
    return id === undefined ? [] : [id];
  });
  return ids.sort((a, b) => Number(a) - Number(b));
}

const withKeys = () => [cluster.auth, ...cluster.collects, ...cluster.dispatchers];
async function untilAllSay(text: string, times: number): Promise<void> {
  for (const service of withKeys()) {
    await waitFor(async () => (await service.log()).split(text).length - 1 >= times, {
      what: `${service.name} to say "${text}" ${times} times`,
      deadlineMs: 60_000,
    });
  }
}

test("a password, authorities, certificates and the encryption key, one after the other, under load", async () => {
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("ada"),
    ack: "turn",
  });
  load = produce();
  await load.goesOn("the load to begin");
  const pids = cluster.processes.map(({ pid }) => pid);
  const opened = await links();

  // Redis' password: both are valid, then the file has the new one, then the old one goes.
  await admin.call("ACL", "SETUSER", "petrel", ">two");
  await put("password", "two\n");
  await admin.call("ACL", "SETUSER", "petrel", "<one");
  await load.goesOn("the load after the password");

  // The authority of Redis' certificate.
  await put("redis-ca.pem", before.cert + after.cert);
  await putPair("server", after.issue("server"));
  await configure(...serverFiles());
  await put("redis-ca.pem", after.cert);
  await load.goesOn("the load after Redis' authority");

  // The services' certificate, by another authority.
  await put("clients-ca.pem", before.cert + after.cert);
  await configure("tls-ca-cert-file", file("clients-ca.pem"));
  await putPair("client", after.issue("client"));
  await put("clients-ca.pem", after.cert);
  await configure("tls-ca-cert-file", file("clients-ca.pem"));
  await load.goesOn("the load after the client certificate");

  // The encryption key.
  const hangUp = (): void => withKeys().forEach((service) => service.signal("SIGHUP"));
  const changed = "encryption keys: reloaded";
  await put("key-encryption", `${oldKey}\n${newKey}\n`);
  hangUp();
  await untilAllSay(changed, 1);
  await load.goesOn("the load with a further key");
  await put("key-encryption", `${newKey}\n${oldKey}\n`);
  hangUp();
  await untilAllSay(changed, 2);
  await waitFor(async () => (await cluster.auth.log()).includes("sealed with the first encryption key"), {
    what: "everything to be sealed anew",
  });
  await load.goesOn("the load with the new key first");
  await put("key-encryption", `${newKey}\n`);
  hangUp();
  await untilAllSay(changed, 3);
  await load.goesOn("the load without the old key");

  // None of that has cost a link. They break now, one after the other, and reopen with the current material.
  expect(await links()).toEqual(opened);
  for (const id of opened) {
    await admin.call("CLIENT", "KILL", "ID", id);
    await waitFor(async () => (await links()).length >= opened.length, {
      what: "another link",
      deadlineMs: 30_000,
    });
    await load.goesOn("the load without that link");
  }
  expect((await links()).filter((id) => opened.includes(id))).toEqual([]);

  await load.stop();
  expect(load.refused).toEqual([]);
  expect(load.accepted()).toBe(count);
  await client.untilMessages(count);
  client.close();
  expect(cluster.processes.map(({ pid }) => pid)).toEqual(pids);
  expect(cluster.processes.every((service) => service.isRunning())).toBe(true);
  // Sessions, signing keys: everybody can still sign in.
  expect(await cluster.tokenFor("bob")).toMatch(/\./);
}, 240_000);

test("a password that Redis no longer accepts is an outage, which ends when the file is corrected", async () => {
  await admin.call("ACL", "SETUSER", "petrel", "resetpass", ">three");
  for (const id of await links()) await admin.call("CLIENT", "KILL", "ID", id);
  await waitFor(async () => (await cluster.collect.log()).includes("WRONGPASS"), {
    what: "collect to say why",
    deadlineMs: 30_000,
  });
  await put("password", "three\n");
  await waitFor(async () => (await sendSigned(cluster.collect.url)).status === 202, {
    what: "a message to be accepted",
    deadlineMs: 60_000,
  });
  await waitFor(
    async () => {
      const answers = await Promise.all(cluster.processes.map(({ url }) => fetch(`${url}/health/ready`)));
      return answers.every(({ ok }) => ok);
    },
    { what: "all to be ready", deadlineMs: 60_000 },
  );
}, 150_000);
