// Tests answers that are sent before the request's body has come, over real sockets.
// Guarantees: a client that first sends all of its body reads the answer and sees no reset; one that never stops
// sending is cut.
import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { PetrelError } from "../errors.js";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import { defaultLingerBounds, LingeringSockets } from "./lingering-sockets.js";
import { createLogger } from "../logging/logging.js";

const logger = createLogger({ service: "test", level: "silent" });
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const BODY = Buffer.alloc(8 * 1024 * 1024, 0x20);

async function startApp(): Promise<number> {
  const app: HttpApp = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 100_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds: { stopWindowMs: 0 },
  });
  app.addHook("onRequest", async ({ url }) => {
    if (url === "/unauthenticated") throw new PetrelError("PETREL_UNAUTHENTICATED", "Who is there?");
    if (url === "/limited") throw new PetrelError("PETREL_RATE_LIMITED", "Slower.");
  });
  app.post("/things", { schema: { body: {} } }, (request) => request.body);
  app.post("/unauthenticated", () => "");
  app.post("/limited", () => "");
  await app.listen({ port: 0, host: "127.0.0.1" });
  open.push(() => app.close());
  return (app.server.address() as AddressInfo).port;
}

/** Sends everything before it reads. */
async function sendAll(port: number, head: string, body: Buffer): Promise<{ text: string; error: unknown }> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  open.push(() => socket.destroy());
  let text = "";
  let error: unknown;
  socket.on("error", (happened) => (error = happened));
  const closed = once(socket, "close");
  await once(socket, "connect");
  socket.pause();
  socket.write(head);
  await new Promise<void>((resolve) => socket.write(body, () => resolve()));
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("end", () => socket.end());
  socket.resume();
  await closed;
  return { text, error };
}

const json = "Content-Type: application/json";
const length = `Content-Length: ${BODY.length}`;
const chunked = Buffer.concat([
  Buffer.from(`${BODY.length.toString(16)}\r\n`),
  BODY,
  Buffer.from("\r\n0\r\n\r\n"),
]);

test.each([
  ["413, by its length", 413, "/things", [json, length], BODY],
  ["413, as it comes", 413, "/things", [json, "Transfer-Encoding: chunked"], chunked],
  ["415", 415, "/things", ["Content-Type: text/xml", length], BODY],
  ["415, in chunks", 415, "/things", ["Content-Type: text/xml", "Transfer-Encoding: chunked"], chunked],
  ["401", 401, "/unauthenticated", [json, length], BODY],
  ["429", 429, "/limited", [json, length], BODY],
  ["404", 404, "/nowhere", [json, length], BODY],
  ["an invalid host", 400, "/things", [json, length, "Host: b"], BODY],
  ["headers that are too large", 400, "/things", [json, length, `X: ${"x".repeat(20_000)}`], BODY],
  ["no HTTP at all", 400, "/things", ["no colon"], BODY],
  ["invalid chunks", 400, "/things", [json, "Transfer-Encoding: chunked"], BODY],
] as const)("%s", async (_what, status, path, fields, body) => {
  const port = await startApp();
  const head = `POST ${path} HTTP/1.1\r\nHost: a\r\n${fields.join("\r\n")}\r\n\r\n`;
  const { text, error } = await sendAll(port, head, body);
  expect(error).toBeUndefined();
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} .*connection: close.*"retryable":`, "is"));
  expect(text.split("HTTP/1.1")).toHaveLength(2);
});

test("refusing a small body does not cost the connection", async () => {
  const port = await startApp();
  const socket = connect({ port, host: "127.0.0.1" });
  open.push(() => socket.destroy());
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.write(`POST /unauthenticated HTTP/1.1\r\nHost: a\r\n${json}\r\nContent-Length: 9\r\n\r\n{"a":`);
  await waitFor(() => text.includes("Who is there?"), { what: "the refusal" });
  socket.write("123}GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => text.includes("1.2.3"), { what: "the next answer" });
});

test("does not ask for a body with 100-continue if it would be refused", async () => {
  const port = await startApp();
  const ask = async (path: string, bytes: number): Promise<string> => {
    const socket = connect({ port, host: "127.0.0.1" });
    open.push(() => socket.destroy());
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const fields = `Host: a\r\n${json}\r\nContent-Length: ${bytes}\r\nExpect: 100-continue`;
    socket.write(`POST ${path} HTTP/1.1\r\n${fields}\r\n\r\n`);
    await waitFor(() => text.includes("\r\n\r\n"), { what: "an answer" });
    return text;
  };
  expect(await ask("/things", 10)).toMatch(/^HTTP\/1\.1 100 /);
  expect(await ask("/things", 200_000)).toMatch(/^HTTP\/1\.1 413 .*connection: close/is);
  expect(await ask("/unauthenticated", 10)).toMatch(/^HTTP\/1\.1 401 .*connection: close/is);
  expect(await ask("/nowhere", 10)).toMatch(/^HTTP\/1\.1 404 .*connection: close/is);
});

test("sends 100-continue for a body that came with its head, too, but not to an HTTP/1.0 client", async () => {
  const port = await startApp();
  const ask = async (version: string): Promise<string> => {
    const socket = connect({ port, host: "127.0.0.1" });
    open.push(() => socket.destroy());
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const fields = `Host: a\r\n${json}\r\nContent-Length: 2\r\nExpect: 100-continue`;
    socket.write(`POST /things HTTP/${version}\r\n${fields}\r\n\r\n{}`);
    await waitFor(() => text.endsWith("{}"), { what: "the answer" });
    return text;
  };
  expect(await ask("1.1")).toMatch(/^HTTP\/1\.1 100 .*HTTP\/1\.1 200 .*connection: keep-alive/is);
  expect(await ask("1.0")).toMatch(/^HTTP\/1\.1 200 .*connection: close/is);
});

test.each([
  ["for too long", { totalMs: 500 }, 50, 100],
  ["nothing", { silenceMs: 500 }, 0, 0],
  ["too much", { maxBytes: 1_000_000 }, 1, 100_000],
])("cuts a client that goes on sending %s", async (_what, bounds, everyMs, bytes) => {
  const lingering = new LingeringSockets(
    { ...defaultLingerBounds, totalMs: 3_600_000, silenceMs: 3_600_000, ...bounds },
    () => false,
  );
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.write("an answer");
    lingering.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  const client = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
  open.push(() => client.destroy());
  client.on("error", () => undefined);
  client.resume();
  const sending = everyMs === 0 ? undefined : setInterval(() => client.write(Buffer.alloc(bytes)), everyMs);
  await waitFor(() => lingering.size === 1, { what: "the client" });
  await waitFor(() => lingering.size === 0, { what: "its end" });
  clearInterval(sending);
});

test("of many that go on sending, the oldest of an address make room", async () => {
  const lingering = new LingeringSockets({ ...defaultLingerBounds, maxPerAddress: 3 }, () => false);
  let came = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    lingering.add(socket);
    came++;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  for (let i = 1; i <= 10; i++) {
    const client = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
    open.push(() => client.destroy());
    client.on("error", () => undefined);
    await waitFor(() => came === i, { what: "the client" });
    expect(lingering.size).toBeLessThanOrEqual(3);
  }
});
