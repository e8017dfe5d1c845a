// Tests TLS on real listeners and real files: who gets in, and what is served when the files change or break.
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeAuthority } from "../../testing/tls/make-authority.js";
import {
  intruderIdentity,
  otherIdentity,
  overIdentity,
  renewedIdentity,
  serverIdentity,
  shopIdentity,
  strangeAuthority,
  type TestIdentity,
  tlsAuthority,
} from "../../testing/tls/tls-identities.js";
import { waitFor } from "../../testing/wait-for.js";
import { ClientTlsFiles } from "../calls/client-tls-files.js";
import { commonSettings } from "../common-settings.js";
import { readConfig } from "../config.js";
import { buildHttpApp, type HttpApp } from "../http/http-app.js";
import { openListenerTls } from "./listener-tls.js";
import { createLogger, type Logger } from "../logging/logging.js";
import { serveMetrics } from "../http/serve-metrics.js";
import { requestBounded } from "../calls/request-bounded.js";
import { openTlsFiles, type TlsFiles } from "./tls-files.js";

const soonIdentity = makeAuthority("soon").issue("soon", { fromMs: Date.now() + 3_600_000 });
const silent = createLogger({ service: "test", level: "silent" });
let directory: string;
let said: string[];
const closers: (() => unknown)[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-tls-"));
  said = [];
  await writeFile(join(directory, "client-ca.pem"), tlsAuthority);
  await put(serverIdentity);
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await rm(directory, { recursive: true, force: true });
});

const file = (name: string): string => join(directory, name);
const logger = {
  info: (_fields: unknown, text: string) => void said.push(text),
  warn: (fields: { reason?: string }, text: string) => void said.push(`${text}: ${fields.reason ?? ""}`),
} as unknown as Logger;

/** As renewal tools do: one file after the other, each atomically. */
async function put({ cert, key }: Partial<TestIdentity>): Promise<void> {
  for (const [name, text] of [
    ["cert.pem", cert],
    ["key.pem", key],
  ] as const) {
    if (text === undefined) continue;
    await writeFile(file(`${name}.new`), text);
    await rename(file(`${name}.new`), file(name));
  }
}

interface Listening {
  readonly app: HttpApp;
  readonly port: number;
  readonly tls: TlsFiles;
}

async function listen(more: { clientCaFile?: string; clientNames?: string[] } = {}): Promise<Listening> {
  const names = { certFile: file("cert.pem"), keyFile: file("key.pem"), ...more };
  // Told when to look, except in the polling test.
  const tls = await openTlsFiles({ ...names, logger, pollMs: 3_600_000 });
  closers.push(() => tls.close());
  const app = await buildHttpApp({
    service: "test",
    version: "1",
    logger: silent,
    bodyLimitBytes: 1_024,
    tls,
    readiness: () => ({ ready: true, checks: {} }),
  });
  closers.push(() => app.close());
  const address = await app.listen({ port: 0, host: "127.0.0.1" });
  return { app, tls, port: Number(new URL(address).port) };
}

const mutual = (): { clientCaFile: string } => ({ clientCaFile: file("client-ca.pem") });

async function shake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", ca: tlsAuthority, ...options });
  closers.push(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

/** The status line, the error's code, or "closed": with TLS 1.3 a client learns of its refusal only afterwards. */
async function ask(port: number, options: ConnectionOptions = {}): Promise<string> {
  try {
    return await askOn(await shake(port, options));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

async function askOn(socket: TLSSocket): Promise<string> {
  socket.write("GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n");
  const data = once(socket, "data").then(([bytes]) => String(bytes).split("\r\n")[0] ?? "");
  const closed = once(socket, "close").then(() => "closed");
  return Promise.race([data, closed]);
}

const nameOf = (socket: TLSSocket): unknown => socket.getPeerCertificate().subject.CN;
const OK = "HTTP/1.1 200 OK";

describe("a server's certificate", () => {
  test("is served; clients without TLS, or with an old version, get nothing", async () => {
    const { port } = await listen();
    expect(await ask(port)).toBe(OK);
    expect(await ask(port, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1" })).toMatch(
      /^(ERR_SSL|EPROTO|ECONNRESET)/,
    );
    const plain = connectTcp(port, "127.0.0.1");
    closers.push(() => plain.destroy());
    let answer = "";
    plain.on("data", (bytes) => (answer += String(bytes)));
    plain.write("GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(plain, "close");
    expect(answer).not.toContain("HTTP/1.1 200");
  });

  test("that is replaced on disk is served to new connections; existing ones stay", async () => {
    const { port, tls } = await listen();
    const before = await shake(port);
    expect(nameOf(before)).toBe("first");
    await put(renewedIdentity);
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("renewed");
    expect(await askOn(before)).toBe(OK);
    expect(said).toEqual(["tls: new certificates are in use"]);
  });

  test("is checked periodically, and at SIGHUP", async () => {
    const polled = await openTlsFiles({
      certFile: file("cert.pem"),
      keyFile: file("key.pem"),
      logger,
      pollMs: 20,
    });
    closers.push(() => polled.close());
    const { port } = await listen();
    await put(renewedIdentity);
    await waitFor(() => polled.serverOptions.cert === renewedIdentity.cert, { what: "the poll" });
    expect(nameOf(await shake(port))).toBe("first");
    process.emit("SIGHUP");
    await waitFor(async () => nameOf(await shake(port)) === "renewed", { what: "the signal's effect" });
  });

  test("without its key is not served: half a replacement waits for the other half, and is logged once", async () => {
    const { port, tls } = await listen();
    await put({ cert: renewedIdentity.cert });
    await tls.reload();
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("first");
    expect(said).toEqual([expect.stringContaining("the key does not match the certificate")]);
    await put({ key: renewedIdentity.key });
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("renewed");
  });

  test.each([
    ["is not a certificate", { cert: "-----BEGIN CERTIFICATE-----\nbroken" }],
    ["is empty", { cert: "" }],
    ["has expired", overIdentity],
    ["is not valid yet", soonIdentity],
    ["has an invalid key", { key: "no key" }],
  ])("that %s keeps the old one", async (_what, broken) => {
    const { port, tls } = await listen();
    await put(broken);
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("first");
    expect(said).toEqual([expect.stringContaining("the previous certificates stay in use")]);
    await put(renewedIdentity);
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("renewed");
  });

  test("that was deleted keeps the old one", async () => {
    const { port, tls } = await listen();
    await rm(file("key.pem"));
    await tls.reload();
    expect(nameOf(await shake(port))).toBe("first");
    expect(said).toEqual([expect.stringContaining("ENOENT")]);
  });

  test("that cannot be used at the start is an error that names the file", async () => {
    await put({ key: renewedIdentity.key });
    await expect(listen()).rejects.toThrow(/cert\.pem: the key does not match the certificate/);
    await rm(file("key.pem"));
    await expect(listen()).rejects.toThrow(/ENOENT/);
    await put(soonIdentity);
    await expect(listen()).rejects.toThrow(
      /TLS_CERT_FILE, .*cert\.pem: the certificate is not valid before /,
    );
  });
});

describe("a client's certificate, if authorities are configured", () => {
  test("is required, and must be signed by one of them", async () => {
    const { port } = await listen(mutual());
    expect(await ask(port)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/);
    expect(await ask(port, intruderIdentity)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/);
    expect(await ask(port, { ...intruderIdentity, maxVersion: "TLSv1.2" })).toMatch(
      /^(ERR_SSL|EPROTO|ECONNRESET|closed)/,
    );
    expect(await ask(port, overIdentity)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/);
    expect(await ask(port, shopIdentity)).toBe(OK);
    expect(await ask(port, otherIdentity)).toBe(OK);
  });

  test.each([
    ["a DNS name", "shop.example.test"],
    ["a URI", "spiffe://example.test/shop"],
    ["a common name", "shop"],
  ])("must have a name on the list: %s", async (_kind, name) => {
    const { port } = await listen({ ...mutual(), clientNames: ["nobody.example.test", name] });
    expect(await ask(port, shopIdentity)).toBe(OK);
    expect(await ask(port, otherIdentity)).toMatch(/^(closed|ECONNRESET)$/);
    expect(await ask(port, intruderIdentity)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/);
    expect(
      said.every((line) => line.startsWith("tls: client refused: its certificate has another name")),
    ).toBe(true);
  });

  test.each([
    "*.example.test",
    "example.test",
    "spiffe://example.test",
    "URI:spiffe://example.test/shop",
    "hop",
  ])("with part of a name, or a pattern, is not on the list: %s", async (name) => {
    const { port } = await listen({ ...mutual(), clientNames: [name] });
    expect(await ask(port, shopIdentity)).toMatch(/^(closed|ECONNRESET)$/);
  });

  test("is verified again at each connection: a removed authority admits nobody through an old session", async () => {
    const { port, tls } = await listen(mutual());
    let session: Buffer | undefined;
    const socket = connect({ port, host: "127.0.0.1", ca: tlsAuthority, ...shopIdentity });
    closers.push(() => socket.destroy());
    socket.on("session", (given: Buffer) => (session = given));
    await once(socket, "secureConnect");
    expect(await askOn(socket)).toBe(OK);
    await writeFile(file("client-ca.pem"), strangeAuthority);
    await tls.reload();
    expect(await ask(port, { ...shopIdentity, ...(session === undefined ? {} : { session }) })).toMatch(
      /^(ERR_SSL|ECONNRESET|closed)/,
    );
    expect(await ask(port, intruderIdentity)).toBe(OK);
  });
});

test("an invalid TLS handshake holds no slot for long and harms nobody", async () => {
  const { port } = await listen();
  const silentOnes = Array.from({ length: 20 }, () => connectTcp(port, "127.0.0.1"));
  for (const socket of silentOnes) {
    closers.push(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.write(Buffer.from([0x16, 0x03, 0x01, 0xff]));
  }
  expect(await ask(port)).toBe(OK);
});

describe("the settings", () => {
  const lifecycle = { onStop: (_name: string, close: () => unknown) => void closers.push(close) };
  const open = (environment: Record<string, string>) =>
    openListenerTls(readConfig(commonSettings, environment), { logger, lifecycle });
  const pair = (): Record<string, string> => ({
    TLS_CERT_FILE: file("cert.pem"),
    TLS_KEY_FILE: file("key.pem"),
  });

  test("without any, everything is plain", async () => {
    expect(await open({})).toMatchObject({ http: undefined, metrics: undefined });
  });

  test.each([
    ["a certificate without its key", () => ({ TLS_CERT_FILE: "x" }), /needed together/],
    ["a key without its certificate", () => ({ TLS_KEY_FILE: "x" }), /needed together/],
    ["authorities without a certificate", () => ({ TLS_CLIENT_CA_FILE: "x" }), /TLS_CLIENT_CA_FILE needs/],
    ["the other listener's alike", () => ({ METRICS_CLIENT_CA_FILE: "x" }), /METRICS_CLIENT_CA_FILE needs/],
    ["names without authorities", () => ({ ...pair(), TLS_CLIENT_NAMES: "shop" }), /TLS_CLIENT_NAMES needs/],
  ])("are refused if they do not fit together: %s", async (_what, environment, reason) => {
    await expect(open(environment())).rejects.toThrow(reason);
  });

  test.each([
    ["same", "wants one", "wants one"],
    ["server", "wants one", "wants none"],
    ["off", "wants one", "plain"],
  ])("METRICS_TLS=%s", async (mode, http, metrics) => {
    const tls = await open({ ...pair(), TLS_CLIENT_CA_FILE: file("client-ca.pem"), METRICS_TLS: mode });
    const describeIt = (files: TlsFiles | undefined): string =>
      files === undefined ? "plain" : files.serverOptions.requestCert ? "wants one" : "wants none";
    expect([describeIt(tls.http), describeIt(tls.metrics)]).toEqual([http, metrics]);
  });

  test("the internal listener may have its own authorities; it serves health too", async () => {
    const tls = await open({ ...pair(), METRICS_CLIENT_CA_FILE: file("client-ca.pem") });
    expect(tls.http?.serverOptions.requestCert).toBe(false);
    const server = await serveMetrics({
      registry: new Registry(),
      port: 0,
      host: "127.0.0.1",
      tls: tls.metrics,
      health: async (path) => ({ statusCode: path === "/health/live" ? 200 : 503, body: "{}" }),
    });
    closers.push(() => server.close());
    const { port } = server.address() as { port: number };
    expect(await ask(port)).toMatch(/^(ERR_SSL|ECONNRESET|closed)/);
    expect(await ask(port, shopIdentity)).toBe(OK);
  });
});

describe("calls to others", () => {
  const call = (port: number, tls: ClientTlsFiles, more: { timeoutMs?: number; maxBytes?: number } = {}) =>
    requestBounded(new URL(`https://127.0.0.1:${port}/health/live`), {
      tls,
      method: "GET",
      headers: {},
      timeoutMs: 5_000,
      maxBytes: 1_000,
      ...more,
    });

  test("trust the configured authorities, and present what is asked for", async () => {
    const { port } = await listen(mutual());
    await writeFile(file("shop.pem"), shopIdentity.cert);
    await writeFile(file("shop-key.pem"), shopIdentity.key);
    const own = { caFile: file("client-ca.pem"), certFile: file("shop.pem"), keyFile: file("shop-key.pem") };
    expect(await call(port, new ClientTlsFiles({ ...own, logger }))).toMatchObject({
      status: 200,
      text: '{"status":"live"}',
    });
    await expect(call(port, new ClientTlsFiles({ caFile: own.caFile, logger }))).rejects.toThrow();
    await writeFile(file("strange.pem"), strangeAuthority);
    const wrong = new ClientTlsFiles({ ...own, caFile: file("strange.pem"), logger });
    await expect(call(port, wrong)).rejects.toThrow(/certificate/);
    await expect(call(port, new ClientTlsFiles({ ...own, logger }), { maxBytes: 3 })).rejects.toThrow(
      /larger/,
    );
  });

  test("use a replaced certificate, and keep the old one while the new one is broken", async () => {
    const { port } = await listen({ ...mutual(), clientNames: ["shop"] });
    await writeFile(file("own.pem"), otherIdentity.cert);
    await writeFile(file("own-key.pem"), otherIdentity.key);
    const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => Date.now() };
    const own = { caFile: file("client-ca.pem"), certFile: file("own.pem"), keyFile: file("own-key.pem") };
    const tls = new ClientTlsFiles({ ...own, logger, clock });
    await expect(call(port, tls)).rejects.toThrow();
    await writeFile(file("own.pem"), shopIdentity.cert);
    clock.nowMs += 10_000;
    const before = tls.agent;
    expect(said.at(-1)).toContain("the key does not match the certificate");
    await writeFile(file("own-key.pem"), shopIdentity.key);
    expect(tls.agent).toBe(before);
    clock.nowMs += 10_000;
    expect(await call(port, tls)).toMatchObject({ status: 200 });
  });

  test("a certificate without its key is refused at once", () => {
    expect(() => new ClientTlsFiles({ certFile: file("cert.pem"), logger })).toThrow(/together/);
  });
});
