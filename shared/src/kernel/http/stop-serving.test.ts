// Tests a server's stop as its clients see it, over real sockets.
// Guarantees: a busy connection is never cut; an idle one, or half a request, does not delay the stop.
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import type { HttpBounds } from "./http-bounds.js";
import { createLogger } from "../logging/logging.js";

const logger = createLogger({ service: "test", level: "silent" });
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function startApp(bounds: Partial<HttpBounds> = {}) {
  const app: HttpApp = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 100_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds,
  });
  app.post("/echo", { schema: { body: {} } }, (message) => message.body);
  let proceed = (): void => undefined;
  const held = new Promise<void>((resolve) => (proceed = resolve));
  app.get("/slow", async () => held.then(() => ({ slow: true })));
  app.get("/large", () => "x".repeat(50_000_000));
  await app.listen({ port: 0, host: "127.0.0.1" });
  open.push(() => app.close());
  return { app, port: (app.server.address() as AddressInfo).port, proceed: () => proceed() };
}

interface Client {
  readonly socket: Socket;
  readonly received: () => string;
  readonly error: () => string | undefined;
  readonly isGone: () => boolean;
}

async function dial(port: number, text = ""): Promise<Client> {
  const socket = connect({ port, host: "127.0.0.1" });
  open.push(() => socket.destroy());
  let received = "";
  let failure: string | undefined;
  let gone = false;
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.on("error", ({ code }: NodeJS.ErrnoException) => (failure = code));
  socket.on("close", () => (gone = true));
  await once(socket, "connect");
  if (text !== "") socket.write(text);
  return { socket, received: () => received, error: () => failure, isGone: () => gone };
}

/** @returns whether the answer said `Connection: close` */
function ask(agent: Agent, port: number, body: string | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        agent,
        port,
        host: "127.0.0.1",
        method: body === undefined ? "GET" : "POST",
        path: body === undefined ? "/version" : "/echo",
        headers: { "content-type": "application/json" },
      },
      (answer) => {
        answer.resume();
        answer.on("error", reject);
        answer.on("end", () => {
          if (answer.statusCode === 200) resolve(answer.headers.connection === "close");
          else reject(new Error(`answered ${answer.statusCode}`));
        });
      },
    );
    asked.on("error", reject);
    asked.end(body);
  });
}

test("a stopping process is not ready, for whoever asks on an open connection", async () => {
  const { app, port } = await startApp();
  const ask = "GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n";
  const probe = await dial(port, ask);
  await waitFor(() => probe.received().startsWith("HTTP/1.1 200"), { what: "the first answer" });
  const closed = app.close();
  await waitFor(() => !app.server.listening, { what: "the stop to begin" });
  probe.socket.write(ask);
  await waitFor(() => probe.received().includes("HTTP/1.1 503"), { what: "the second answer" });
  expect(probe.received()).toContain("stopping");
  await closed;
});

test("tells clients with busy connections to leave, and cuts none", async () => {
  const { app, port } = await startApp();
  const failures: unknown[] = [];
  let busy = 0;
  const loop = async (i: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    open.push(() => agent.destroy());
    for (;;) {
      const isLast = await ask(agent, port, i % 2 === 0 ? undefined : '{"data":1}');
      busy++;
      if (isLast) return;
      await new Promise((resolve) => setTimeout(resolve, i % 7));
    }
  };
  const clients = Array.from({ length: 24 }, (_, i) =>
    loop(i).catch((error: unknown) => failures.push(error)),
  );
  await waitFor(() => busy > 500, { what: "busy clients" });
  const closed = app.close();
  await Promise.all(clients);
  await closed;
  expect(failures).toEqual([]);
});

test("half a head, half a body, an idle connection and a silent one do not delay it", async () => {
  const { app, port } = await startApp({ stopWindowMs: 200 });
  const head =
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
  const asked = once(app.server, "request");
  const body = await dial(port, head);
  await asked;
  const others = await Promise.all([
    dial(port),
    dial(port, "GET /version HTTP/1.1\r\nHost: a\r\nX-Slow: "),
    dial(port, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n"),
  ]);
  await waitFor(() => others[2].received().includes("1.2.3"), { what: "an answer" });
  await app.close();
  await waitFor(() => body.isGone() && others.every(({ isGone }) => isGone()), { what: "the end of all" });
  expect(body.received()).toMatch(/^HTTP\/1\.1 503 .*connection: close.*"PETREL_UNAVAILABLE"/is);
  expect([body, ...others].map(({ error }) => error())).toEqual([undefined, undefined, undefined, undefined]);
});

test("accepts a half-sent body that is completed within the window", async () => {
  const { app, port } = await startApp({ stopWindowMs: 60_000 });
  const head =
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{";
  const asked = once(app.server, "request");
  const client = await dial(port, head);
  await asked;
  const closed = app.close();
  await waitFor(() => !app.server.listening, { what: "the stop's beginning" });
  client.socket.write('"data":1}');
  await closed;
  await waitFor(() => client.isGone(), { what: "the answer and the end" });
  expect(client.received()).toMatch(/^HTTP\/1\.1 200 .*connection: close/is);
});

test("waits for requests in progress longer than the window; their client hears that it was the last answer", async () => {
  const { app, port, proceed } = await startApp({ stopWindowMs: 100 });
  const asked = once(app.server, "request");
  const client = await dial(port, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  await asked;
  const idle = await dial(port);
  const closed = app.close();
  await waitFor(() => idle.isGone(), { what: "the window's end" });
  expect(client.isGone()).toBe(false);
  proceed();
  await closed;
  expect(client.received()).toMatch(/^HTTP\/1\.1 200 .*connection: close.*"slow":true/is);
});

test("does not wait forever for a client that does not read its answer", async () => {
  const { app, port } = await startApp({ stopWindowMs: 100 });
  const asked = once(app.server, "request");
  const client = await dial(port, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  client.socket.pause();
  await asked;
  // Far less than the silence timeout.
  await app.close();
});
