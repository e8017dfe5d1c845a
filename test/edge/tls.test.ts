// Over real processes: every listener speaks TLS, asks for client certificates if told to, and takes a replaced
// certificate without a restart.
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { ClientTlsFiles } from "@petrel/shared/kernel/calls/client-tls-files";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { requestBounded } from "@petrel/shared/kernel/calls/request-bounded";
import type { AskAnswer, AskInit } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  intruderIdentity,
  otherIdentity,
  renewedIdentity,
  serverIdentity,
  shopIdentity,
  type TestIdentity,
  tlsAuthority,
} from "@petrel/shared/testing/tls/tls-identities";
import { freePort } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";

const logger = createLogger({ service: "test", level: "silent" });
let directory: string;
let cluster: TestCluster;
let metricsPort: number;
const tlsOf = new Map<TestIdentity | undefined, ClientTlsFiles>();
const file = (name: string): string => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-tls-"));
  await writeFile(file("authority.pem"), tlsAuthority);
  for (const [name, identity] of Object.entries({
    server: serverIdentity,
    shop: shopIdentity,
    other: otherIdentity,
    intruder: intruderIdentity,
  })) {
    await writeFile(file(`${name}.pem`), identity.cert);
    await writeFile(file(`${name}-key.pem`), identity.key, { mode: 0o600 });
    if (identity !== serverIdentity) {
      const own = { certFile: file(`${name}.pem`), keyFile: file(`${name}-key.pem`) };
      tlsOf.set(identity, new ClientTlsFiles({ caFile: file("authority.pem"), ...own, logger }));
    }
  }
  tlsOf.set(undefined, new ClientTlsFiles({ caFile: file("authority.pem"), logger }));
  metricsPort = await freePort();
  const mutual = {
    TLS_CLIENT_CA_FILE: file("authority.pem"),
    TLS_CLIENT_NAMES: "spiffe://example.test/shop,nobody.example.test",
  };
  cluster = await startCluster({
    together: (name) => !name.startsWith("push-node"),
    nodes: 1,
    isTls: true,
    ask: (url, init) => ask(url, shopIdentity, init),
    environment: {
      TLS_CERT_FILE: file("server.pem"),
      TLS_KEY_FILE: file("server-key.pem"),
      AUTH_CA_FILE: file("authority.pem"),
      AUTH_CERT_FILE: file("shop.pem"),
      AUTH_KEY_FILE: file("shop-key.pem"),
    },
    environmentOf: (name) =>
      // Browsers have no certificates; the node's internal listener asks for one.
      name === "push-node-1"
        ? { METRICS_PORT: String(metricsPort), METRICS_CLIENT_CA_FILE: file("authority.pem") }
        : mutual,
  });
});
afterAll(async () => {
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function ask(url: string, as: TestIdentity | undefined, init: AskInit = {}): Promise<AskAnswer> {
  const tls = tlsOf.get(as);
  if (tls === undefined) throw new Error("unknown identity");
  const { method = "GET", headers = {}, body } = init;
  const limits = { timeoutMs: 5_000, maxBytes: 1_000_000 };
  const { status, text } = await requestBounded(new URL(url), { tls, method, headers, body, ...limits });
  return { status, ok: status >= 200 && status < 300, text: async () => text };
}

async function open(token: string): Promise<WebSocket> {
  const [url = ""] = cluster.nodeUrls;
  const socket = new WebSocket(url, ["petrel.v1", `bearer.${token}`], { ca: tlsAuthority });
  await once(socket, "open");
  return socket;
}

async function servedName(port: number): Promise<unknown> {
  const socket: TLSSocket = connect({ port, host: "127.0.0.1", ca: tlsAuthority });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

test("a message goes from a producer to a wss client; plain connections are refused", async () => {
  const token = await cluster.tokenFor("ada");
  const socket = await open(token);
  const frames: { type: string; data?: unknown }[] = [];
  socket.on("message", (bytes: Buffer) => void frames.push(JSON.parse(bytes.toString("utf8")) as never));
  await waitFor(() => frames.some(({ type }) => type === "welcome"), { what: "the welcome" });
  await cluster.post("/v1/messages", { to: { user: "ada" }, data: { n: 1 } });
  await waitFor(
    () => frames.some(({ type, data }) => type === "message" && JSON.stringify(data) === '{"n":1}'),
    {
      what: "the message",
    },
  );
  socket.close();

  const [wss = ""] = cluster.nodeUrls;
  const plain = new WebSocket(wss.replace("wss:", "ws:"), ["petrel.v1", `bearer.${token}`]);
  await expect(once(plain, "open")).rejects.toThrow();
  for (const { url } of cluster.processes) {
    await expect(fetch(`${url.replace("https:", "http:")}/health/live`)).rejects.toThrow();
  }
});

test("internal and producer ports admit only certificates of the right authority and name", async () => {
  for (const { url, name } of [cluster.auth, cluster.collect, ...cluster.dispatchers]) {
    const live = `${url}/health/live`;
    expect((await ask(live, shopIdentity)).status, name).toBe(200);
    for (const stranger of [undefined, intruderIdentity, otherIdentity]) {
      await expect(ask(live, stranger), name).rejects.toThrow();
    }
  }
});

test("the node's internal listener has its own authorities, and serves health", async () => {
  const url = `https://127.0.0.1:${metricsPort}`;
  expect(await (await ask(`${url}/metrics`, shopIdentity)).text()).toContain("process_cpu_seconds_total");
  expect((await ask(`${url}/health/ready`, shopIdentity)).status).toBe(200);
  await expect(ask(`${url}/metrics`, undefined)).rejects.toThrow();
  await expect(ask(`${url}/metrics`, intruderIdentity)).rejects.toThrow();
});

test("serves a certificate replaced on disk without a restart; sockets stay; a broken one is refused", async () => {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no node");
  const socket = await open(await cluster.tokenFor("bert"));
  expect(await servedName(node.port)).toBe("first");

  await writeFile(file("server.pem"), "broken");
  node.signal("SIGHUP");
  await waitFor(async () => (await node.log()).includes("the previous certificates stay in use"), {
    what: "the log line",
  });
  expect(await servedName(node.port)).toBe("first");

  for (const [name, text] of [
    ["server.pem", renewedIdentity.cert],
    ["server-key.pem", renewedIdentity.key],
  ] as const) {
    await writeFile(file(`${name}.new`), text);
    await rename(file(`${name}.new`), file(name));
  }
  // By itself, a few seconds later.
  await waitFor(async () => (await servedName(node.port)) === "renewed", {
    what: "the new certificate",
    deadlineMs: 30_000,
  });
  expect(socket.readyState).toBe(WebSocket.OPEN);
  socket.ping();
  await once(socket, "pong");
  socket.close();
});

test("a node that stops asks its clients to move, over TLS too", async () => {
  const socket = await open(await cluster.tokenFor("carl"));
  const texts: string[] = [];
  socket.on("message", (bytes: Buffer) => void texts.push(bytes.toString("utf8")));
  const closed = once(socket, "close");
  const [node] = cluster.nodes;
  node?.signal("SIGTERM");
  expect(await node?.exited).toBe(0);
  const [code] = (await closed) as [number];
  expect(code).toBe(1012);
  expect(texts.some((text) => text.includes('"reconnect"'))).toBe(true);
});
