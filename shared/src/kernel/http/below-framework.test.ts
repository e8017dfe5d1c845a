// Tests requests that the framework never sees, or not to their end, over real sockets.
// Guarantees: each is answered once, in the contract's shape; a field given twice is refused; an empty body has no
// type.
import { once } from "node:events";
import { connect, type AddressInfo } from "node:net";
import { Type } from "../schemas/json-schema.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import { createLogger } from "../logging/logging.js";
import { addJsonBodyReader } from "./bodies/read-json-body.js";

const logger = createLogger({ service: "test", level: "silent" });
let app: HttpApp;
let port: number;

beforeAll(async () => {
  app = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 10_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds: { stopWindowMs: 0, bodyTimeoutMs: 300, headersTimeoutMs: 300 },
  });
  addJsonBodyReader(app, 10_000);
  const nothing = Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()]);
  app.post("/things", { schema: { body: Type.Object({}) } }, ({ body }) => ({ body }));
  app.post("/nothing", { schema: { body: nothing } }, ({ body }) => ({ none: body === undefined }));
  app.delete("/nothing", ({ body }) => ({ none: body === undefined }));
  await app.listen({ port: 0, host: "127.0.0.1" });
  port = (app.server.address() as AddressInfo).port;
});
afterAll(() => app.close());

async function exchange(bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  // Closes as a client does after it has read the last answer.
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

function expectOneError(text: string, status: number, code: string): void {
  expect(text.split("HTTP/1.1 ")).toHaveLength(2);
  const [head = "", body = ""] = text.split("\r\n\r\n");
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(head).toMatch(/^content-type: application\/json/im);
  expect(head).toMatch(/^connection: close/im);
  const error = { code, message: expect.stringMatching(/./) as string, retryable: status === 408 };
  expect(JSON.parse(body)).toMatchObject({ error });
}

const json = "Content-Type: application/json";
const get = (...fields: string[]): string =>
  `GET /version HTTP/1.1\r\n${fields.join("\r\n")}\r\nConnection: close\r\n\r\n`;
const post = (...fields: string[]): string =>
  `POST /things HTTP/1.1\r\nHost: a\r\n${fields.join("\r\n")}\r\n`;

test.each([
  ["no Host", get("A: b"), 400],
  ["an invalid Host", get("Host: a/b"), 400],
  ["two hosts", get("Host: a", "Host: b"), 400],
  ["the same host twice", get("Host: a", "Host: a"), 400],
  ["two credentials", get("Host: a", "Authorization: Bearer a", "authorization: Bearer b"), 400],
  ["a key twice", get("Host: a", "Petrel-Key: a", "petrel-key: a"), 400],
  [
    "two types",
    `${post(json, "Content-Type: text/plain", "Content-Length: 2", "Connection: close")}\r\n{}`,
    400,
  ],
  ["an unknown expectation", get("Host: a", "Expect: 200-ok"), 400],
  ["an unknown method", "BREW /version HTTP/1.1\r\nHost: a\r\n\r\n", 400],
  ["an unsupported version", "GET /version HTTP/3.1\r\nHost: a\r\n\r\n", 400],
  ["HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
  ["a head that does not end", "GET /version HTTP/1.1\r\nHost: a\r\nX: ", 400],
  ["headers beyond the limit", get("Host: a", `X: ${"x".repeat(20_000)}`), 400],
  ["an invalid length", `${post(json, "Content-Length: x")}\r\n`, 400],
  ["invalid chunks", `${post(json, "Transfer-Encoding: chunked")}\r\nnonsense\r\n`, 400],
  ["an unknown coding", `${post(json, "Transfer-Encoding: squeezed")}\r\n{}`, 400],
])("%s: an error with a body", async (_what, bytes, status) => {
  expectOneError(await exchange(bytes), status, "PETREL_INVALID_REQUEST");
});

test.each([
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["TRACE", "TRACE /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
  ["PROPFIND", "PROPFIND /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
  ["OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
])("%s: there is none here", async (_what, bytes) => {
  expectOneError(await exchange(bytes), 404, "PETREL_NOT_FOUND");
});

test.each([
  ["a body that stalls", `${post(json, "Content-Length: 20")}\r\n{"a":`],
  ["one in chunks", `${post(json, "Transfer-Encoding: chunked")}\r\n5\r\n{"a":\r\n`],
  ["one of another type", `${post("Content-Type: text/xml", "Transfer-Encoding: chunked")}\r\n`],
])("%s: 408, retryable", async (_what, bytes) => {
  expectOneError(await exchange(bytes), 408, "PETREL_REQUEST_TIMEOUT");
});

test.each([
  ["curl -d ''", "POST", ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"], ""],
  ["aiohttp", "POST", ["Content-Type: application/octet-stream", "Content-Length: 0"], ""],
  [
    "in chunks",
    "POST",
    ["Content-Type: application/octet-stream", "Transfer-Encoding: chunked"],
    "0\r\n\r\n",
  ],
  ["no length", "POST", ["Content-Type: text/plain"], ""],
  ["an invalid type", "POST", ["Content-Type: ?"], ""],
  ["as JSON", "POST", [json, "Content-Length: 0"], ""],
  ["as JSON in chunks", "POST", [json, "Transfer-Encoding: chunked"], "0\r\n\r\n"],
  ["packed", "POST", [json, "Content-Encoding: gzip", "Content-Length: 0"], ""],
  ["packed, in chunks", "POST", [json, "Content-Encoding: gzip", "Transfer-Encoding: chunked"], "0\r\n\r\n"],
  ["DELETE", "DELETE", ["Content-Type: text/plain"], ""],
])("no bytes are no body, whatever their type: %s", async (_what, method, fields, body) => {
  const head = `${method} /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields.join("\r\n")}\r\n\r\n`;
  const text = await exchange(head + body);
  expect(text).toMatch(/^HTTP\/1\.1 200 .*"none":true/is);
});

test.each([
  [["Content-Type: application/x-www-form-urlencoded", "Content-Length: 3"], "a=b"],
  [["Content-Type: application/octet-stream", "Transfer-Encoding: chunked"], "1\r\na\r\n0\r\n\r\n"],
])("one byte is a body: %s", async (fields, body) => {
  const head = `POST /nothing HTTP/1.1\r\nHost: a\r\n${fields.join("\r\n")}\r\n\r\n`;
  expectOneError(await exchange(head + body), 415, "PETREL_UNSUPPORTED_MEDIA_TYPE");
});

test.each([
  ["an old client names no host", "GET /version HTTP/1.0\r\n\r\n"],
  ["an empty one", get("Host:")],
  ["an address, with a port", get("Host: [2001:db8::7]:7101")],
  ["what may occur twice", get("Host: a", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2")],
  ["a whole URL as the target", "GET http://b/version HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"],
])("%s: served", async (_what, bytes) => {
  expect(await exchange(bytes)).toMatch(/^HTTP\/1\.1 200 .*"1\.2\.3"/is);
});
