// Tests request-bounded; over TLS: tls-files.test.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { requestBounded, type BoundedRequest } from "./request-bounded.js";

let answer: (request: IncomingMessage, response: ServerResponse) => void;
let connections = 0;
const server = createServer((request, response) => answer(request, response));
let url: URL;
beforeAll(async () => {
  server.on("connection", () => connections++);
  await once(server.listen(0, "127.0.0.1"), "listening");
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/path?a=1`);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const ask = (more: Partial<BoundedRequest> = {}) =>
  requestBounded(url, { method: "GET", headers: {}, timeoutMs: 30_000, maxBytes: 10, ...more });

test("sends what it is given, and returns what it is answered", async () => {
  const heard: unknown[] = [];
  answer = (request, response) => {
    void text(request).then((body) => {
      heard.push([
        request.method,
        request.url,
        request.headers["x-name"],
        request.headers["user-agent"],
        body,
      ]);
      response.writeHead(409, { "retry-after": "7" }).end("0123456789");
    });
  };
  const found = await ask({ method: "POST", headers: { "x-name": "me" }, body: "grüße" });
  expect(found).toMatchObject({ status: 409, text: "0123456789", headers: { "retry-after": "7" } });
  expect(heard).toEqual([["POST", "/path?a=1", "me", "petrel", "grüße"]]);
});

test("keeps its connection for the next request", async () => {
  answer = (_request, response) => response.end("ok");
  await ask();
  const before = connections;
  for (let i = 0; i < 3; i++) await ask();
  expect(connections).toBe(before);
});

test("a kept connection that the server ends: GET is asked again, POST is not", async () => {
  const used = new Set<Socket>();
  const asked: (string | undefined)[] = [];
  answer = ({ socket, method }, response) => {
    asked.push(method);
    if (used.has(socket)) return void socket.destroy();
    used.add(socket);
    response.end("ok");
  };
  server.closeIdleConnections();
  await ask();
  expect(await ask()).toMatchObject({ text: "ok" });
  expect(asked).toEqual(["GET", "GET", "GET"]);
  await expect(ask({ method: "POST" })).rejects.toThrow("socket hang up");
  expect(asked.slice(3)).toEqual(["POST"]);
});

test("takes no more than it may, whatever the length that was promised", async () => {
  answer = (_request, response) => response.write("01234567890");
  await expect(ask()).rejects.toThrow("the answer is larger than 10 bytes");
});

test("follows no redirect", async () => {
  answer = (_request, response) => response.writeHead(307, { location: "/elsewhere" }).end();
  await expect(ask()).rejects.toThrow("the answer is a redirect");
});

test.each([
  ["head", () => undefined],
  ["body", (_request: IncomingMessage, response: ServerResponse) => void response.write("begun")],
])("waits no longer than it may for the %s", async (_part, silent) => {
  answer = silent;
  await expect(ask({ timeoutMs: 200 })).rejects.toThrow("aborted");
});

test("ends before its time if it is told to", async () => {
  const told = new AbortController();
  answer = () => told.abort();
  await expect(ask({ signal: told.signal })).rejects.toThrow("aborted");
});

test("an answer that breaks off is none", async () => {
  answer = (_request, response) => {
    response.writeHead(200, { "content-length": "10" });
    response.write("01234", () => response.destroy());
  };
  await expect(ask()).rejects.toThrow("aborted");
});

test("without a server there is no answer", async () => {
  const gone = createServer();
  await once(gone.listen(0, "127.0.0.1"), "listening");
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await once(gone, "close");
  await expect(
    requestBounded(new URL(`http://127.0.0.1:${port}`), {
      method: "GET",
      headers: {},
      timeoutMs: 30_000,
      maxBytes: 10,
    }),
  ).rejects.toThrow("ECONNREFUSED");
});

test("a call loads no parser in WebAssembly: a start that asks auth for its keys costs half", async () => {
  answer = (_request, response) => response.end("ok");
  const module = new URL("../../../dist/kernel/calls/request-bounded.js", import.meta.url).href;
  const script = `
    import { requestBounded } from ${JSON.stringify(module)};
    const asked = { method: "GET", headers: {}, timeoutMs: 30_000, maxBytes: 10 };
    const { text } = await requestBounded(new URL(${JSON.stringify(url)}), asked);
    const loaded = process.moduleLoadList.filter((name) => name.endsWith("undici/undici"));
    process.stdout.write(JSON.stringify([text, loaded]));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
  expect(JSON.parse(stdout)).toEqual(["ok", []]);
});
