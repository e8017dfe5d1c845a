// Tests the fault proxy: what each fault looks like from both ends.
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "./fault-proxy.js";
import { waitFor } from "../wait-for.js";

let target: Server;
let accepted: Socket[];
let heard: string;
let proxy: FaultProxy;
let clients: Client[];

class Client {
  readonly socket: Socket;
  heard = "";
  ended = false;
  closed = false;
  error: string | undefined;

  constructor() {
    this.socket = connect({ port: proxy.port, host: "127.0.0.1" });
    this.socket.on("data", (bytes: Buffer) => (this.heard += bytes.toString()));
    this.socket.on("end", () => (this.ended = true));
    this.socket.on("close", () => (this.closed = true));
    this.socket.on("error", (error: NodeJS.ErrnoException) => (this.error = error.code));
    clients.push(this);
  }
}

beforeEach(async () => {
  accepted = [];
  clients = [];
  heard = "";
  target = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      heard += bytes.toString();
      socket.write(`<${bytes.toString()}>`);
    });
  });
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
  proxy = await startFaultProxy({ targetPort: (target.address() as AddressInfo).port });
});

afterEach(async () => {
  for (const { socket } of clients) socket.destroy();
  await proxy.stop();
  for (const socket of accepted) socket.destroy();
  target.close();
});

async function connected(): Promise<Client> {
  const client = new Client();
  client.socket.write("hello");
  await waitFor(() => client.heard === "<hello>", { what: "the echo" });
  return client;
}

/** Long enough for loopback to deliver what is not held back. */
const aMoment = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 100));

test("forwards pieces of any size, and passes on each end's close", async () => {
  const client = await connected();
  const large = "x".repeat(3_000_000);
  client.socket.write(large);
  await waitFor(() => heard.length === 5 + large.length, { what: "all of it" });
  client.socket.end();
  await waitFor(() => client.closed, { what: "the target's end" });
  expect(client.error).toBeUndefined();
  await waitFor(() => proxy.connections() === 0, { what: "the link to be forgotten" });
});

test("cut: both ends see a close; new connections too, until it heals", async () => {
  const client = await connected();
  const there = accepted[0];
  proxy.cut();
  await waitFor(() => client.closed && there?.destroyed === true, { what: "both ends" });
  expect([client.ended, client.error]).toEqual([true, undefined]);
  const second = new Client();
  await waitFor(() => second.closed, { what: "the refusal" });
  proxy.heal();
  await connected();
});

test("reset: both ends see ECONNRESET", async () => {
  const client = await connected();
  let targetError: string | undefined;
  accepted[0]?.on("error", (error: NodeJS.ErrnoException) => (targetError = error.code));
  proxy.reset();
  await waitFor(() => client.error !== undefined && targetError !== undefined, { what: "both errors" });
  expect([client.error, targetError]).toEqual(["ECONNRESET", "ECONNRESET"]);
});

test("stall: silence, for new connections too; everything comes when it heals, in order", async () => {
  const client = await connected();
  proxy.stall();
  client.socket.write("one ");
  const late = new Client();
  late.socket.write("late");
  await aMoment();
  client.socket.write("two");
  await aMoment();
  expect([heard, client.heard, late.heard]).toEqual(["hello", "<hello>", ""]);
  expect([client.closed, late.closed, late.error, accepted.length]).toEqual([false, false, undefined, 1]);
  proxy.heal();
  await waitFor(() => client.heard.replaceAll("><", "") === "<helloone two>" && late.heard === "<late>", {
    what: "what was held back",
  });
});

test("stall: an end that gives up is not noticed by the other before it heals", async () => {
  const client = await connected();
  proxy.stall();
  client.socket.destroy();
  await aMoment();
  expect(accepted[0]?.destroyed).toBe(false);
  proxy.heal();
  await waitFor(() => accepted[0]?.destroyed, { what: "the target to see the end" });
});

test("stall of one direction: the request arrives, the answer does not", async () => {
  const client = await connected();
  proxy.stall("toClient");
  client.socket.write("one");
  await waitFor(() => heard === "helloone", { what: "the target to hear it" });
  await aMoment();
  expect(client.heard).toBe("<hello>");
  proxy.heal();
  await waitFor(() => client.heard === "<hello><one>", { what: "the answer" });
});

test("slow: each piece is delayed, and the bytes per second are bounded", async () => {
  const client = await connected();
  proxy.slow({ latencyMs: 150 });
  const startMs = performance.now();
  client.socket.write("one");
  await waitFor(() => client.heard === "<hello><one>", { what: "the late answer" });
  // Once each way; timers may fire a little early.
  expect(performance.now() - startMs).toBeGreaterThan(280);

  proxy.slow({ bytesPerSecond: 100_000 });
  const narrowMs = performance.now();
  client.socket.write("x".repeat(20_000));
  await waitFor(() => heard.length === 8 + 20_000, { what: "all of it" });
  expect(performance.now() - narrowMs).toBeGreaterThan(150);
});
