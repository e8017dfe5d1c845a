// Tests what a client can make an HTTP server hold, over real sockets, plain and in TLS.
// Guarantees: a client that says nothing, or half of something, is cut; a newcomer is served, whoever else lingers.
import { once } from "node:events";
import { createServer as createTlsServer } from "node:https";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { testAuthority, testCertificate, testCertificateKey } from "../../testing/tls/tls-certificate.js";
import { waitFor } from "../../testing/wait-for.js";
import { clientAddress, TrustedProxies } from "./client-address.js";
import { applyHttpBounds, defaultHttpBounds, nodeServerOptions, type HttpBounds } from "./http-bounds.js";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import { createLogger } from "../logging/logging.js";

const logger = createLogger({ service: "test", level: "silent" });
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function startApp(bounds: Partial<HttpBounds>, trusted: readonly string[] = []) {
  let cut = 0;
  const app: HttpApp = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 1_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds,
    trustedProxies: new TrustedProxies(trusted),
    onSocketCut: () => void cut++,
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  open.push(() => app.close());
  const held = (): Promise<number> =>
    new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count)));
  return { port: (app.server.address() as AddressInfo).port, cut: () => cut, held };
}

interface Client {
  readonly socket: Socket;
  readonly received: () => string;
  readonly isGone: () => boolean;
}

/** A socket, optionally from its own address: Linux gives all of 127.0.0.0/8 to this machine. */
async function dial(
  port: number,
  text = "",
  { localAddress = "127.0.0.1", allowHalfOpen = false } = {},
): Promise<Client> {
  const socket = connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen });
  open.push(() => socket.destroy());
  let received = "";
  let gone = false;
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  socket.on("close", () => (gone = true));
  await once(socket, "connect");
  if (text !== "") socket.write(text);
  return { socket, received: () => received, isGone: () => gone };
}

const WHOLE = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";

test("without a byte, with half a head, or a head without its body: an answer, then the end, though the client never closes", async () => {
  const { port, held } = await startApp({ headersTimeoutMs: 300, requestTimeoutMs: 600 });
  const never = { allowHalfOpen: true };
  const post =
    "POST /health/live HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
  const clients = await Promise.all([
    dial(port, "", never),
    dial(port, "GET /health/live HTTP/1.1\r\nHost: a\r\nX-Slow: ", never),
    dial(port, post, never),
  ]);
  await waitFor(async () => (await held()) === 3, { what: "all of them" });
  await waitFor(async () => (await held()) === 0, { what: "the end of all" });
  for (const { received } of clients.slice(0, 2)) {
    expect(received()).toContain("HTTP/1.1 400");
    expect(received()).toContain("did not arrive in time");
  }
});

test("a further request on the same socket has the same time, and a pause has an end", async () => {
  const { port } = await startApp({ headersTimeoutMs: 300, requestTimeoutMs: 600, keepAliveTimeoutMs: 500 });
  const second = await dial(port, `${WHOLE}GET /health/live HTTP/1.1\r\nX-Slow`);
  const idle = await dial(port, WHOLE);
  await waitFor(() => second.isGone() && idle.received().includes("200 OK"), { what: "the end" });
  expect(second.received()).toContain("200 OK");
  await waitFor(() => idle.isGone(), { what: "the pause's end" });
});

test("refuses headers that are too large", async () => {
  const { port } = await startApp({ maxHeaderBytes: 4_096 });
  const large = await dial(port, `GET / HTTP/1.1\r\nX: ${"x".repeat(5_000)}\r\n\r\n`);
  await waitFor(() => large.isGone(), { what: "the end" });
  expect(large.received()).toContain("HTTP/1.1 400");
  expect(large.received()).toContain("too large");
});

test("silent sockets make room, oldest first, for one that sends", async () => {
  const { port, cut } = await startApp({ maxPendingSockets: 20, maxPendingPerAddress: 20 });
  const silent: Client[] = [];
  for (let i = 0; i < 60; i++) silent.push(await dial(port, i % 2 === 0 ? "" : "GET /he"));
  await waitFor(() => silent.filter(({ isGone }) => isGone()).length === 40, {
    what: "the oldest ones' end",
  });
  expect(silent.slice(0, 40).every(({ isGone }) => isGone())).toBe(true);
  expect(cut()).toBe(40);
  const good = await dial(port, WHOLE);
  await waitFor(() => good.received().includes('"live"'), { what: "the answer" });
  // A socket that has spoken no longer counts.
  for (let i = 0; i < 25; i++) await dial(port);
  good.socket.write(WHOLE);
  await waitFor(() => good.received().split("200 OK").length === 3, { what: "another answer" });
});

test("an address has its share; a trusted proxy's is everyone's", async () => {
  const { port, cut } = await startApp({ maxPendingSockets: 30, maxPendingPerAddress: 5 }, ["127.0.0.9"]);
  const quiet = await dial(port, "", { localAddress: "127.0.0.2" });
  for (let i = 0; i < 20; i++) await dial(port, "", { localAddress: "127.0.0.3" });
  await waitFor(() => cut() === 15, { what: "those beyond the share" });
  for (let i = 0; i < 20; i++) await dial(port, "", { localAddress: "127.0.0.9" });
  expect(cut()).toBe(15);
  // Nearly all slots are taken now: the address with the most makes room, and that is not the quiet one.
  for (let i = 0; i < 15; i++) await dial(port, "", { localAddress: `127.0.1.${i + 1}` });
  quiet.socket.write(WHOLE);
  await waitFor(() => quiet.received().includes('"live"'), { what: "the answer" });
});

test("over TLS too, neither a silent socket nor one silent after its handshake keeps others out", async () => {
  let cut = 0;
  const bounds: HttpBounds = { ...defaultHttpBounds, maxPendingSockets: 10, maxPendingPerAddress: 10 };
  const server = createTlsServer(
    { key: testCertificateKey, cert: testCertificate, ...nodeServerOptions(bounds) },
    (_request, response) => response.end("served"),
  );
  applyHttpBounds(server, bounds, new TrustedProxies([]), () => void cut++);
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const secure = async (): Promise<{ socket: Socket; received: () => string }> => {
    const socket = connectTls({ port, host: "127.0.0.1", ca: testAuthority });
    open.push(() => socket.destroy());
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    await once(socket, "secureConnect");
    return { socket, received: () => received };
  };
  for (let i = 0; i < 15; i++) await dial(port);
  for (let i = 0; i < 15; i++) await secure();
  await waitFor(() => cut === 20, { what: "those that made room" });
  const spoken: Awaited<ReturnType<typeof secure>>[] = [];
  for (let i = 0; i < 15; i++) {
    const client = await secure();
    client.socket.write(WHOLE);
    await waitFor(() => client.received().includes("served"), { what: "the answer" });
    spoken.push(client);
  }
  const before = cut;
  for (const { socket } of spoken) socket.write(WHOLE);
  await waitFor(() => spoken.every(({ received }) => received().split("served").length === 3), {
    what: "more answers",
  });
  expect(cut).toBe(before);
});

test("a closed socket gives its slot back", async () => {
  let cut = 0;
  const bounds: HttpBounds = { ...defaultHttpBounds, maxPendingSockets: 3, maxPendingPerAddress: 3 };
  const server = createServer(nodeServerOptions(bounds));
  applyHttpBounds(server, bounds, new TrustedProxies([]), () => void cut++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 10; i++) {
    const { socket } = await dial(port);
    socket.destroy();
    await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    await waitFor(
      () => new Promise<boolean>((resolve) => server.getConnections((_e, count) => resolve(count === 0))),
      {
        what: "its end",
      },
    );
  }
  expect(cut).toBe(0);
});

test("serves a request that only offers an upgrade like any other, and its socket's end harms nobody", async () => {
  const { port, held } = await startApp({});
  const offer =
    "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
  const client = await dial(port, offer);
  await waitFor(() => client.received().includes('"live"'), { what: "the answer" });
  // A socket error without a listener would end the process.
  client.socket.resetAndDestroy();
  await waitFor(async () => (await held()) === 0, { what: "its end" });
});

test("reads what a proxy appends, however many headers a client sends", async () => {
  const server = createServer(nodeServerOptions(defaultHttpBounds), ({ headers }, answer) => {
    const peer = "127.0.0.1";
    answer.end(clientAddress(peer, String(headers["x-forwarded-for"]), new TrustedProxies([peer])));
  });
  applyHttpBounds(server, defaultHttpBounds, new TrustedProxies([]), () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const own = Array.from({ length: 1_500 }, (_, i) => `h${i.toString(36)}: 1\r\n`).join("");
  const head = `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.1\r\n${own}`;
  const client = await dial(port, `${head}X-Forwarded-For: 192.0.2.7\r\n\r\n`);
  await waitFor(() => client.isGone(), { what: "the answer" });
  expect(client.received()).toMatch(/192\.0\.2\.7$/);
});
