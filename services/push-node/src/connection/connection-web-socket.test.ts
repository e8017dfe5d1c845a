// Tests the server's end of a WebSocket: how it closes, whoever closes it and why, and its pongs.
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import {
  testAuthority,
  testCertificate,
  testCertificateKey,
} from "@petrel/shared/testing/tls/tls-certificate";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { maskedFrame } from "../testing/raw-client.js";
import { ConnectionWebSocket } from "./connection-web-socket.js";

const BOUNDS = { maxBytes: 1_000, maxFragments: 3 };

let server: Server;
const sockets: Socket[] = [];
beforeEach(async () => {
  // As Node's HTTP server: a client that has ended may still be written to.
  server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  vi.useRealTimers();
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

interface Ends {
  readonly ws: ConnectionWebSocket;
  readonly socket: Socket;
  readonly client: Socket;
  /** What the client got, as hex. */
  readonly got: () => string;
  readonly heard: (string | number)[];
}

async function open(head: Buffer = Buffer.alloc(0)): Promise<Ends> {
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const client = connect({
    port: (server.address() as AddressInfo).port,
    host: "127.0.0.1",
    allowHalfOpen: true,
  });
  const chunks: Buffer[] = [];
  client.on("data", (chunk) => chunks.push(chunk));
  client.on("error", () => undefined);
  const [socket] = await accepted;
  sockets.push(client, socket);
  const ws = new ConnectionWebSocket(socket, head, BOUNDS);
  const heard: (string | number)[] = [];
  ws.listen({
    onMessage: (data, isBinary) => heard.push(isBinary ? "binary" : data.toString("utf8")),
    onControlFrame: () => heard.push("control"),
    onError: ({ message }) => heard.push(message),
    onClose: (code) => heard.push(code),
  });
  return { ws, socket, client, got: () => Buffer.concat(chunks).toString("hex"), heard };
}

/** Without a timer. */
async function turnsUntil(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo() && turn < 100_000; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const closing = (code: number, reason = ""): Buffer =>
  maskedFrame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), true);

test("a closing client gets its close back, then the end of the socket, which is closed at once", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { ws, socket, client, got, heard } = await open();
  client.write(closing(4000, "bye"));
  // The client's own end is not waited for, nor any timer: turns are counted.
  await turnsUntil(() => heard.length > 0);
  expect([ws.isOpen, socket.destroyed, heard]).toEqual([false, true, [4000]]);
  await turnsUntil(() => client.readableEnded);
  expect(got()).toBe(`8805${(4000).toString(16).padStart(4, "0")}${Buffer.from("bye").toString("hex")}`);
});

test("a client that closes while bytes wait for it gets them and its close back", async () => {
  const { ws, socket, client, got, heard } = await open();
  const ended = once(client, "end");
  client.pause();
  // More than the kernel takes.
  const text = "x".repeat(8_000_000);
  ws.send(text);
  expect(socket.writableLength).toBeGreaterThan(0);
  client.write(closing(1000));
  await waitFor(() => !ws.isOpen, { what: "the close frame", everyMs: 2 });
  expect([socket.destroyed, heard]).toEqual([false, []]);
  client.resume();
  await ended;
  expect(got().length / 2).toBe(10 + text.length + 4);
  expect(got().slice(-8)).toBe("880203e8");
  client.end();
  await waitFor(() => heard.length > 0, { what: "the close", everyMs: 2 });
  expect(heard).toEqual([1000]);
});

test("over TLS the socket is ended in order, with TLS' own goodbye", async () => {
  const tlsServer = createTlsServer({ cert: testCertificate, key: testCertificateKey });
  await new Promise<void>((resolve) => tlsServer.listen(0, "127.0.0.1", resolve));
  const accepted = once(tlsServer, "secureConnection") as Promise<[Socket]>;
  const client = connectTls({
    port: (tlsServer.address() as AddressInfo).port,
    host: "127.0.0.1",
    ca: testAuthority,
  });
  const [socket] = await accepted;
  sockets.push(client, socket);
  const codes: number[] = [];
  const ws = new ConnectionWebSocket(socket, Buffer.alloc(0), BOUNDS);
  ws.listen({
    onMessage: () => undefined,
    onControlFrame: () => undefined,
    onError: () => undefined,
    onClose: (code) => codes.push(code),
  });
  client.resume();
  client.write(closing(1001));
  await waitFor(() => codes.length > 0, { what: "the close", everyMs: 2 });
  expect([codes, socket.writableEnded]).toEqual([[1001], true]);
  await new Promise((resolve) => tlsServer.close(resolve));
});

test("a close without a code is answered by one and reported as 1005", async () => {
  const { client, got, heard } = await open();
  client.end(maskedFrame(8, Buffer.alloc(0), true));
  await waitFor(() => heard.length > 0 && got() !== "", { what: "the close and its answer", everyMs: 2 });
  expect([got(), heard]).toEqual(["8800", [1005]]);
});

test("if this end closes, the socket waits for the client's answer, then ends", async () => {
  const { ws, client, got, heard, socket } = await open();
  ws.close(1012, "PETREL");
  ws.close(1013, "AGAIN");
  await waitFor(() => got() !== "", { what: "the close frame", everyMs: 2 });
  expect(got()).toBe(`8808${(1012).toString(16).padStart(4, "0")}${Buffer.from("PETREL").toString("hex")}`);
  expect(socket.writableEnded).toBe(false);
  // Frames in progress are still handled.
  client.write(Buffer.concat([maskedFrame(1, Buffer.from("last"), true), closing(1012)]));
  await once(client, "end");
  client.end();
  await waitFor(() => heard.length > 1, { what: "the close", everyMs: 2 });
  expect(heard).toEqual(["last", 1012]);
});

test.each([
  ["this end closed, and the client never answers", ({ ws }: Ends) => ws.close(1012, "x")],
  [
    "the client closed, does not read what waits for it, and leaves its socket open",
    ({ ws, client }: Ends) => {
      client.pause();
      ws.send("x".repeat(8_000_000));
      client.write(closing(1000));
    },
  ],
])("%s: the socket is cut after five seconds", async (_name, act) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const ends = await open();
  act(ends);
  const { ws, heard, socket } = ends;
  // No timer runs here: turns are counted.
  await turnsUntil(() => !ws.isOpen);
  expect(ws.isOpen).toBe(false);
  await vi.advanceTimersByTimeAsync(4_999);
  expect([socket.destroyed, heard]).toEqual([false, []]);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket.destroyed).toBe(true);
});

test("a bad frame closes with its code and ends the socket; later frames are ignored", async () => {
  const { client, got, heard } = await open();
  client.write(Buffer.concat([Buffer.from([0x81, 2, 97, 98]), maskedFrame(1, Buffer.from("late"), true)]));
  await once(client, "end");
  client.end();
  await waitFor(() => heard.length > 1, { what: "the close", everyMs: 2 });
  expect([got(), heard]).toEqual(["880203ea", ["Invalid WebSocket frame: MASK must be set", 1006]]);
});

test("reports 1006 for a socket that ends, or is reset, without a close", async () => {
  const ended = await open();
  ended.client.end();
  await waitFor(() => ended.heard.length > 0, { what: "the end", everyMs: 2 });
  const reset = await open();
  reset.client.resetAndDestroy();
  await waitFor(() => reset.heard.length > 0, { what: "the reset", everyMs: 2 });
  const cut = await open();
  cut.ws.terminate();
  await waitFor(() => cut.heard.length > 0, { what: "the cut", everyMs: 2 });
  expect([ended.heard, reset.heard, cut.heard]).toEqual([[1006], [1006], [1006]]);
});

test("reads bytes that followed the handshake first", async () => {
  const { client, heard } = await open(maskedFrame(1, Buffer.from("head"), true));
  client.write(maskedFrame(1, Buffer.from("next"), true));
  await waitFor(() => heard.length > 1, { what: "both", everyMs: 2 });
  expect(heard).toEqual(["head", "next"]);
  client.destroy();
});

test("answers a ping with its bytes; cuts a client that pings and does not read", async () => {
  const { client, got, heard, socket } = await open();
  client.write(maskedFrame(9, Buffer.from("hi"), true));
  await waitFor(() => got() !== "", { what: "the pong", everyMs: 2 });
  expect([got(), heard]).toEqual(["8a026869", ["control"]]);
  // The kernel accepts nothing more.
  socket.write = () => false;
  client.write(Buffer.concat(Array.from({ length: 1_000 }, () => maskedFrame(9, Buffer.alloc(0), true))));
  await waitFor(() => heard.length === 1_001, { what: "the pings", everyMs: 2 });
  expect(socket.destroyed).toBe(false);
  client.write(maskedFrame(9, Buffer.alloc(0), true));
  await waitFor(() => socket.destroyed, { what: "the cut", everyMs: 2 });
});
