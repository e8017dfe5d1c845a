// Tests what is counted of requests, over real sockets: by route, method and status, whoever answers.
import { once } from "node:events";
import { connect, type AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../logging/logging.js";
import { Registry } from "../../metrics/metrics.js";
import { waitFor } from "../../../testing/wait-for.js";
import { buildHttpApp, type HttpApp } from "../http-app.js";
import { RequestWatch } from "./watch-requests.js";

const registry = new Registry();
const lines: { readonly requestId?: string }[] = [];
const note = (fields: { readonly requestId?: string }): void => void lines.push(fields);
const noting = Object.assign(createLogger({ service: "test", level: "silent" }), { error: note });
let app: HttpApp;
let port: number;
/** What was counted before the test. */
let before: ReadonlyMap<string, number>;
/** Ends the request that waits. */
let release: () => void = () => undefined;
let waiting: Promise<void>;

beforeAll(async () => {
  app = await buildHttpApp({
    service: "test",
    version: "1",
    logger: noting,
    bodyLimitBytes: 100,
    readiness: () => ({ ready: false, checks: {} }),
    requests: new RequestWatch(registry),
    bounds: { stopWindowMs: 0 },
  });
  app.get("/things/:id", (request) => {
    if ((request.params as { id: string }).id === "broken") throw new Error("a defect");
    return { n: 1 };
  });
  app.put("/things/:id", (_request, reply) => reply.code(204).send());
  app.get("/slow", async () => {
    waiting = new Promise((resolve) => (release = resolve));
    await waiting;
    return {};
  });
  app.get("/poll", { config: { waits: true } }, () => ({}));
  await app.listen({ port: 0, host: "127.0.0.1" });
  port = (app.server.address() as AddressInfo).port;
});
afterAll(() => app.close());
beforeEach(async () => (before = await counted()));

async function counted(): Promise<Map<string, number>> {
  const text = await registry.metrics();
  const rows = text.matchAll(/^petrel_http_(requests_total|request_duration_seconds_count)\{(.*)\} (\d+)$/gm);
  return new Map(
    [...rows].map(([, name, labels = "", value]) => {
      const short = labels.replaceAll(/\w+="([^"]*)",?/g, "$1 ").trim();
      return [name === "requests_total" ? short : `${short} timed`, Number(value)];
    }),
  );
}

/** What has been counted since the test began. */
async function since(): Promise<Record<string, number>> {
  const more = [...(await counted())].map(([name, n]) => [name, n - (before.get(name) ?? 0)] as const);
  return Object.fromEntries(more.filter(([, n]) => n > 0));
}

/** Awaited: an answer is counted once its last byte has been handed over. */
async function expectCounts(expected: Record<string, number>): Promise<void> {
  let found: Record<string, number> = {};
  await waitFor(async () => Object.keys((found = await since())).length >= Object.keys(expected).length, {
    what: JSON.stringify(expected),
    deadlineMs: 20_000,
  });
  expect(found).toEqual(expected);
}

const get = (path: string, method = "GET") => fetch(`http://127.0.0.1:${port}${path}`, { method });

async function exchange(bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

test("a route is its template", async () => {
  await get("/things/1");
  await get("/things/2?token=x");
  await get("/things/3", "PUT");
  await expectCounts({
    "/things/:id GET 200": 2,
    "/things/:id GET timed": 2,
    "/things/:id PUT 204": 1,
    "/things/:id PUT timed": 1,
  });
});

test("counts HEAD as a method of its own", async () => {
  await get("/things/1", "HEAD");
  await expectCounts({ "/things/:id HEAD 200": 1, "/things/:id HEAD timed": 1 });
});

test("counts a failure, and a service that is not ready", async () => {
  await get("/things/broken");
  await get("/health/ready");
  await app.inject("/health/live");
  await expectCounts({
    "/things/:id GET 500": 1,
    "/things/:id GET timed": 1,
    "/health/ready GET 503": 1,
    "/health/ready GET timed": 1,
    "/health/live GET 200": 1,
    "/health/live GET timed": 1,
  });
});

test("no path or method of a client becomes a label", async () => {
  await get("/nowhere");
  await get("/things/1", "PURGE");
  await get("/%zz");
  await expectCounts({
    "unmatched GET 404": 1,
    "unmatched GET 400": 1,
    "unmatched GET timed": 2,
    "unmatched other 404": 1,
    "unmatched other timed": 1,
  });
});

test("counts what never reaches the framework", async () => {
  expect(await exchange("nonsense\r\n\r\n")).toContain(" 400 ");
  expect(await exchange("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")).toContain(" 404 ");
  expect(await exchange("GET /things/1 HTTP/1.1\r\nConnection: close\r\n\r\n")).toContain(" 400 ");
  await expectCounts({
    "unmatched other 400": 1,
    "unmatched CONNECT 404": 1,
    "/things/:id GET 400": 1,
    "/things/:id GET timed": 1,
  });
});

test("counts a client that left before the answer as a 499", async () => {
  const socket = connect(port, "127.0.0.1");
  socket.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => waiting !== undefined, { what: "the request" });
  socket.destroy();
  await expectCounts({ "/slow GET 499": 1, "/slow GET timed": 1 });
  release();
  await get("/poll");
  await expectCounts({ "/slow GET 499": 1, "/slow GET timed": 1, "/poll GET 200": 1 });
});

test("counts a body that breaks off as a 400: its client may still listen", async () => {
  const socket = connect(port, "127.0.0.1");
  const head = "PUT /things/1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50";
  socket.write(`${head}\r\nExpect: 100-continue\r\n\r\n`);
  // It says "continue": the request has begun.
  await once(socket, "data");
  socket.end('{"to":');
  await expectCounts({ "/things/:id PUT 400": 1, "/things/:id PUT timed": 1 });
});

test("an answer to an invalid request has an id, too", async () => {
  for (const bytes of ["nonsense\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"])
    expect(await exchange(bytes)).toMatch(/\r\nX-Request-Id: [\w.-]+\r\n/);
});

test("a route's failure series exist before the first failure", async () => {
  const text = await registry.metrics();
  for (const status of [500, 503])
    expect(text).toContain(
      `petrel_http_requests_total{route="/things/:id",method="PUT",status="${status}"} 0`,
    );
});

const idOf = async (path: string, id?: string): Promise<string | null> => {
  const headers: Record<string, string> = id === undefined ? {} : { "x-request-id": id };
  return (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).headers.get("x-request-id");
};

test.each(["/things/1", "/things/broken", "/nowhere", "/%zz", "/health/live"])(
  "%s: the answer has the request's id, or a generated one",
  async (path) => {
    expect(await idOf(path, "edge-1:a/b")).toBe("edge-1:a/b");
    const [made, other, replaced] = [await idOf(path), await idOf(path), await idOf(path, "no good")];
    for (const id of [made, other, replaced]) expect(id).toMatch(/^[\w-]{8}\.[0-9a-z]+$/);
    expect(new Set([made, other, replaced]).size).toBe(3);
  },
);

test("a request refused by its head has its id, too", async () => {
  const head = "GET /things/1 HTTP/1.1\r\nConnection: close\r\nX-Request-Id: edge-2\r\n\r\n";
  expect(await exchange(head)).toMatch(/^x-request-id: edge-2\r$/im);
  const twice =
    "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n";
  expect(await exchange(twice)).toMatch(/^x-request-id: [\w-]{8}\.[0-9a-z]+\r$/im);
});

test("a failure's log line has the id", async () => {
  lines.length = 0;
  const id = await idOf("/things/broken");
  expect(lines.map(({ requestId }) => requestId)).toEqual([id]);
});
