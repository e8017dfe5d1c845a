// Tests requests whose bodies arrive slowly, or never, over real sockets.
// Guarantees: they are bounded in number and bytes, per address; a newcomer always gets a slot; the client that loses
// one is told so.
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { BodiesUnderWay, type BodyBounds } from "./bodies-under-way.js";
import { TrustedProxies } from "./client-address.js";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import type { HttpBounds } from "./http-bounds.js";
import { defaultLingerBounds, LingeringSockets } from "./lingering-sockets.js";
import { createLogger } from "../logging/logging.js";

const logger = createLogger({ service: "test", level: "silent" });
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function startApp(bounds: Partial<HttpBounds>, trusted: readonly string[] = []) {
  const app: HttpApp = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 1_000_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds: { stopWindowMs: 0, ...bounds },
    trustedProxies: new TrustedProxies(trusted),
  });
  let begun = 0;
  app.server.on("request", () => begun++);
  app.post("/echo", { schema: { body: {} } }, ({ body }) => body);
  app.post(
    "/late",
    { onRequest: (_request, _reply, done) => void setTimeout(done, 600) },
    ({ body }) => body,
  );
  await app.listen({ port: 0, host: "127.0.0.1" });
  open.push(() => app.close());
  return { port: (app.server.address() as AddressInfo).port, begun: () => begun };
}

interface Client {
  readonly socket: Socket;
  readonly received: () => string;
  readonly isGone: () => boolean;
}

async function dial(port: number, text: string, localAddress = "127.0.0.1"): Promise<Client> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  open.push(() => socket.destroy());
  let received = "";
  let gone = false;
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  socket.on("close", () => (gone = true));
  await once(socket, "connect");
  socket.write(text);
  return { socket, received: () => received, isGone: () => gone };
}

const half = (path = "/echo", fields = ""): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n${fields}\r\n{"a":`;

/** Each dials once the one before has its slot, so the oldest is known. */
async function dialAll(
  { port, begun }: { port: number; begun: () => number },
  count: number,
  text: string,
  address?: string,
): Promise<Client[]> {
  const clients: Client[] = [];
  for (let i = 0; i < count; i++) {
    const before = begun();
    clients.push(await dial(port, text, address));
    await waitFor(() => begun() > before, { what: "the head" });
  }
  return clients;
}

test("the oldest of an address gives up its slot and is told to retry", async () => {
  const app = await startApp({ maxBodies: 100, maxBodiesPerAddress: 5 });
  const other = await dialAll(app, 1, half(), "127.0.0.2");
  const clients = await dialAll(app, 12, half());
  await waitFor(() => clients.slice(0, 7).every(({ isGone }) => isGone()), { what: "the oldest ones' end" });
  for (const { received } of clients.slice(0, 7)) {
    expect(received()).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1.*"PETREL_UNAVAILABLE".*"retryable":true/is);
  }
  for (const { socket, received } of [...other, ...clients.slice(7)]) {
    socket.write("123}");
    await waitFor(() => received().includes('{"a":123}'), { what: "an answer" });
  }
});

test("if all slots are taken the address with the most gives one up", async () => {
  const app = await startApp({ maxBodies: 6, maxBodiesPerAddress: 6 });
  const few = await dialAll(app, 2, half(), "127.0.0.2");
  const many = await dialAll(app, 4, half(), "127.0.0.3");
  const newcomer = await dialAll(app, 1, half(), "127.0.0.4");
  await waitFor(() => many[0]?.isGone() === true, { what: "the end of its oldest" });
  for (const { socket, received } of [...few, ...many.slice(1), ...newcomer]) {
    socket.write("123}");
    await waitFor(() => received().includes('{"a":123}'), { what: "an answer" });
  }
});

test("counts the client's own address behind a trusted proxy", async () => {
  const app = await startApp({ maxBodies: 100, maxBodiesPerAddress: 2 }, ["127.0.0.1"]);
  const others: Client[] = [];
  for (let i = 1; i <= 5; i++) {
    others.push(...(await dialAll(app, 1, half("/echo", `X-Forwarded-For: 192.0.2.${i}\r\n`))));
  }
  const flood = await dialAll(app, 5, half("/echo", "X-Forwarded-For: 192.0.2.99\r\n"));
  await waitFor(() => flood.slice(0, 3).every(({ isGone }) => isGone()), { what: "those beyond the share" });
  expect(others.some(({ isGone }) => isGone())).toBe(false);
});

test("frees a slot when the body has arrived; a body that comes with its head takes none", async () => {
  const app = await startApp({ maxBodies: 1, maxBodiesPerAddress: 1 });
  const [first] = await dialAll(app, 1, half());
  for (let i = 0; i < 5; i++) {
    const whole = await dial(app.port, `${half()}123}`);
    await waitFor(() => whole.received().includes('{"a":123}'), { what: "an answer" });
  }
  first?.socket.write("123}");
  await waitFor(() => first?.received().includes('{"a":123}') === true, { what: "an answer" });
  const [second] = await dialAll(app, 1, half());
  first?.socket.write(half());
  await waitFor(() => second?.isGone() === true, { what: "the older one's end" });
  expect(first?.isGone()).toBe(false);
});

test("one refused in the turn of its head takes one slot, not two", async () => {
  const app = await startApp({ maxBodies: 100, maxBodiesPerAddress: 2 });
  const [waiting] = await dialAll(app, 1, half());
  const head = "POST /late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
  const broken = await dial(app.port, `${head}Transfer-Encoding: chunked\r\n\r\nno chunk\r\n`);
  await waitFor(() => broken.isGone(), { what: "the end" });
  expect(broken.received()).toMatch(/^HTTP\/1\.1 400 /);
  waiting?.socket.write("123}");
  await waitFor(() => waiting?.received().endsWith("}") === true, { what: "an answer" });
  expect(waiting?.received()).toMatch(/^HTTP\/1\.1 200 /);
});

test("a request whose body is unread when its time is over is answered as soon as something would read it", async () => {
  const app = await startApp({ bodyTimeoutMs: 200 });
  const late = await dial(app.port, half("/late"));
  await waitFor(() => late.isGone(), { what: "the end" });
  expect(late.received()).toMatch(/^HTTP\/1\.1 408 .*"PETREL_REQUEST_TIMEOUT"/is);
});

test("bounds bytes: the address whose bodies are largest gives up", async () => {
  const bounds: BodyBounds = {
    max: 100,
    maxPerAddress: 100,
    maxBytes: 3_000_000,
    baseMs: 3_600_000,
    bytesPerSecond: 65_536,
    longestMs: 3_600_000,
    bodyLimitBytes: 10_000_000,
  };
  let refused = 0;
  const lingering = new LingeringSockets(defaultLingerBounds, () => false);
  const bodies = new BodiesUnderWay(bounds, new TrustedProxies([]), lingering, () => void refused++);
  const ended: string[] = [];
  const server = createServer((request, response) => {
    const address = request.socket.remoteAddress ?? "";
    request.resume();
    request.on("error", (error) => {
      ended.push(address);
      response.end(error.message);
    });
  });
  bodies.watch(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n";
  await dial(port, head + "x".repeat(100_000), "127.0.0.2");
  const large = await dial(port, head + "x".repeat(2_500_000), "127.0.0.3");
  await dial(port, head + "x".repeat(1_000_000), "127.0.0.4");
  await waitFor(() => large.received().includes("send this one again"), {
    what: "the largest one's refusal",
  });
  expect(ended).toEqual(["127.0.0.3"]);
  expect(refused).toBe(1);
});
