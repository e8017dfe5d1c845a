// Tests connections through an HTTP proxy, and authentication by certificate.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import {
  testAuthority,
  testCertificate,
  testCertificateKey,
} from "@petrel/shared/testing/tls/tls-certificate";
import { afterEach, describe, expect, test } from "vitest";
import { answer, startApnsServer, type ApnsServer } from "../../../testing/apns-server.js";
import { testP12, testP12Passphrase } from "../../../testing/provider-certificate.js";
import { ApnsPool, type ApnsAuth, type ApnsPoolOptions } from "./apns-pool.js";

const never = new AbortController().signal;
const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

type OnConnect = (request: IncomingMessage, socket: Duplex) => void;

/** @returns its port */
async function startProxy(onConnect: OnConnect, isTls = false): Promise<number> {
  const tls = { cert: testCertificate, key: testCertificateKey };
  const server: Server = isTls ? createTlsServer(tls) : createServer();
  const sockets = new Set<Duplex>();
  server.on("connect", (request: IncomingMessage, socket: Duplex) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onConnect(request, socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return (server.address() as AddressInfo).port;
}

/** As a proxy does: connects to what was asked for, and passes on. */
const passOn: OnConnect = ({ url = "" }, socket) => {
  const [host = "", port = ""] = url.split(":");
  const target = connect({ host, port: Number(port) }, () => {
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    target.pipe(socket).pipe(target);
  });
  target.on("error", () => socket.destroy());
};

async function serve(...parts: Parameters<typeof startApnsServer>): Promise<ApnsServer> {
  const server = await startApnsServer(...parts);
  cleanUps.push(server.stop);
  return server;
}

function open(server: ApnsServer, options: Partial<ApnsPoolOptions>): ApnsPool {
  const token = (): Promise<string> => Promise.resolve("t");
  const pool = new ApnsPool({
    endpoint: server.endpoint,
    ca: server.ca,
    connections: 1,
    waitMs: 2_000,
    auth: { kind: "token", tokens: { current: token, replace: token } },
    logger: createLogger({ service: "test", level: "silent" }),
    ...options,
  });
  cleanUps.push(() => pool.close());
  return pool;
}

const push = { path: "/3/device/aa", headers: { "apns-id": "i" }, body: Buffer.from("{}") };

describe("a proxy", () => {
  test.each([false, true])("is asked for a tunnel with user and password; over TLS: %s", async (isTls) => {
    const server = await serve(answer);
    const asked: IncomingMessage[] = [];
    const port = await startProxy((request, socket) => {
      asked.push(request);
      passOn(request, socket);
    }, isTls);
    const proxyUrl = `${isTls ? "https" : "http"}://us%20er:p%40ss@127.0.0.1:${port}`;
    expect(await open(server, { proxyUrl }).send(push, never)).toMatchObject({ status: 200 });
    expect(asked[0]).toMatchObject({ url: `127.0.0.1:${server.port}`, method: "CONNECT" });
    expect(asked[0]?.headers).toMatchObject({
      host: `127.0.0.1:${server.port}`,
      "proxy-authorization": `Basic ${Buffer.from("us er:p@ss").toString("base64")}`,
    });
  });

  test.each([
    [
      "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
      /answered 407 \(it asks for a user and a password/,
    ],
    ["HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nno!", /answered 502 \(Bad Gateway\)/],
    ["HTTP/1.1 403 Forbidden\r\n\r\n", /answered 403 \(it does not allow CONNECT/],
    ["HTTP/1.1 302 Found\r\nlocation: http://x/\r\n\r\n", /answered 302/],
    ["nonsense\r\n\r\n", /proxy 127\.0\.0\.1:\d+: Parse Error/],
    ["", /proxy 127\.0\.0\.1:\d+: socket hang up/],
  ])("that answers %j is named with its answer, without the password", async (head, reason) => {
    const server = await serve(answer);
    const port = await startProxy((_request, socket) => void socket.end(head));
    const pool = open(server, { proxyUrl: `http://user:hunter2@127.0.0.1:${port}`, waitMs: 300 });
    const result = await pool.send(push, never);
    expect(result).toMatchObject({ kind: "not-sent", why: expect.stringMatching(reason) as string });
    expect(JSON.stringify(result)).not.toContain("hunter2");
    expect(server.sessions).toHaveLength(0);
  });

  test("that says nothing is given up in time", async () => {
    const server = await serve(answer);
    const port = await startProxy(() => undefined);
    const pool = open(server, {
      proxyUrl: `http://127.0.0.1:${port}`,
      connectTimeoutMs: 150,
      waitMs: 1_000,
    });
    const result = await pool.send(push, never);
    expect(result).toMatchObject({
      kind: "not-sent",
      why: expect.stringContaining("within 150 ms") as string,
    });
  });

  test("that answers 200 and leads to nobody we trust gets nothing", async () => {
    const server = await serve(answer);
    const port = await startProxy((_request, socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    const pool = open(server, { proxyUrl: `http://127.0.0.1:${port}`, waitMs: 300 });
    expect(await pool.send(push, never)).toMatchObject({
      kind: "not-sent",
      why: expect.stringContaining("TLS with 127.0.0.1") as string,
    });
  });
});

test("the connect deadline ends with the connect: the tunnel stays", async () => {
  const server = await serve(answer);
  const proxyUrl = `http://127.0.0.1:${await startProxy(passOn)}`;
  const pool = open(server, { proxyUrl, connectTimeoutMs: 300 });
  await pool.send(push, never);
  await pause(600);
  expect(await pool.send(push, never)).toMatchObject({ status: 200 });
  expect(server.sessions).toHaveLength(1);
});

describe("a certificate", () => {
  const wantsOne = { requestCert: true, rejectUnauthorized: true, ca: testAuthority };

  test.each<[string, ApnsAuth]>([
    [
      ".p12 with its passphrase",
      { kind: "certificate", certificate: { pfx: testP12, passphrase: testP12Passphrase } },
    ],
    ["PEM", { kind: "certificate", certificate: { cert: testCertificate, key: testCertificateKey } }],
  ])("as %s is shown to the server", async (_name, auth) => {
    const names: unknown[] = [];
    const server = await serve((request) => {
      names.push((request.session.socket as TLSSocket).getPeerCertificate().subject.CN);
      answer(request);
    }, wantsOne);
    expect(await open(server, { auth }).send(push, never)).toMatchObject({ status: 200 });
    expect(names).toEqual(["localhost"]);
  });

  test("that cannot be opened fails before anything is sent, and says why", async () => {
    const server = await serve(answer, wantsOne);
    const auth = { kind: "certificate", certificate: { pfx: testP12, passphrase: "wrong" } } as const;
    const result = await open(server, { auth, waitMs: 200 }).send(push, never);
    expect(result).toMatchObject({ kind: "not-sent", why: expect.stringMatching(/mac verify/i) as string });
  });

  test("a server that asks for one cannot be reached without", async () => {
    const server = await serve(answer, wantsOne);
    expect(await open(server, { waitMs: 300 }).send(push, never)).toMatchObject({ kind: "not-sent" });
  });
});
