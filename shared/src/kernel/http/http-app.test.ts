// Tests the HTTP application under every service.
// Guarantees: every failure, in a route, in the framework or below it, is answered in the contract's error shape.
import { once } from "node:events";
import { connect, type AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { Type } from "../schemas/json-schema.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { PetrelError } from "../errors.js";
import { buildHttpApp, type HttpApp } from "./http-app.js";
import { toPetrelError } from "./requests/describe-failure.js";
import { createLogger } from "../logging/logging.js";

const logger = createLogger({ service: "test", level: "silent" });
let app: HttpApp;
let isReady = true;

async function buildApp(): Promise<HttpApp> {
  const built = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger,
    bodyLimitBytes: 1_000,
    documented: true,
    readiness: () => ({ ready: isReady, checks: { redis: isReady ? "ok" : "does not answer" } }),
  });
  const body = Type.Object(
    {
      count: Type.Integer({ minimum: 1 }),
      flag: Type.Optional(Type.Boolean()),
      data: Type.Optional(Type.Unknown()),
    },
    { additionalProperties: false },
  );
  const querystring = Type.Object({ after: Type.Optional(Type.String()) }, { additionalProperties: false });
  built.post("/things", { schema: { body, querystring } }, (request) => request.body);
  built.get("/things/:id", (request) => request.params);
  for (const method of ["POST", "PUT", "PATCH", "DELETE"])
    built.route({
      method,
      url: "/acts",
      preValidation: async () => undefined,
      handler: () => ({ done: true }),
    });
  built.get("/fails/:how", (request) => {
    throw thrown[(request.params as { how: string }).how];
  });
  return built;
}

const thrown: Readonly<Record<string, unknown>> = {
  fault: new Error("password=hush"),
  syntax: new SyntaxError("Unexpected token in what Redis holds"),
  nothing: undefined,
  text: "a text",
  unauthenticated: new PetrelError("PETREL_UNAUTHENTICATED", "Who is there?"),
  unavailable: new PetrelError("PETREL_UNAVAILABLE", "Not now.", { retryAfterSeconds: 2.5 }),
  limited: new PetrelError("PETREL_RATE_LIMITED", "Slower.", { retryAfterSeconds: 0 }),
  unbuilt: new PetrelError("PETREL_NOT_IMPLEMENTED", "Not yet."),
};

beforeAll(async () => {
  app = await buildApp();
  await app.ready();
});
afterAll(() => app.close());

test.each(["POST", "PUT", "PATCH", "DELETE"] as const)(
  "%s of a route without a body: none or an empty object; any field is refused",
  async (method) => {
    const ask = (body?: string) =>
      app.inject({
        method,
        url: "/acts",
        ...(body === undefined ? {} : { payload: body, headers: { "content-type": "application/json" } }),
      });
    expect((await ask()).json()).toEqual({ done: true });
    expect((await ask("{}")).json()).toEqual({ done: true });
    for (const [body, field] of [
      [`{"force":true}`, "body/force"],
      ["[]", "body"],
      ["null", "body"],
      [`"x"`, "body"],
    ] as const) {
      const answer = await ask(body);
      expect(answer.statusCode, body).toBe(400);
      expect(answer.json()).toMatchObject({ error: { code: "PETREL_INVALID_REQUEST", details: { field } } });
    }
  },
);

function expectError(
  answer: { statusCode: number; body: string; headers: object },
  status: number,
  code: string,
): void {
  const body: unknown = JSON.parse(answer.body);
  expect(body).toMatchObject({
    error: {
      code,
      message: expect.stringMatching(/./),
      retryable: status === 503 || status === 429 || status === 500,
    },
  });
  expect(Object.keys(body as object)).toEqual(["error"]);
  expect(answer.statusCode).toBe(status);
  expect(answer.headers).toMatchObject({ "content-type": expect.stringMatching(/^application\/json/) });
}

const json = { "content-type": "application/json" };
const form = { "content-type": "application/x-www-form-urlencoded" };

describe("an invalid request", () => {
  test.each([
    ["malformed JSON", 400, "PETREL_INVALID_JSON", json, `{"count":`],
    ["an empty body", 400, "PETREL_INVALID_REQUEST", json, ""],
    ["an empty form (curl -d '')", 400, "PETREL_INVALID_REQUEST", form, ""],
    [
      "a body that would change prototypes",
      400,
      "PETREL_INVALID_JSON",
      json,
      `{"count":1,"data":{"__proto__":{"x":1}}}`,
    ],
    [
      "… by way of the constructor",
      400,
      "PETREL_INVALID_JSON",
      json,
      `{"data":{"constructor":{"prototype":{"x":1}}}}`,
    ],
    ["no body and no type", 400, "PETREL_INVALID_REQUEST", {}, undefined],
    ["a wrong type", 415, "PETREL_UNSUPPORTED_MEDIA_TYPE", { "content-type": "text/xml" }, "<a/>"],
    ["a form", 415, "PETREL_UNSUPPORTED_MEDIA_TYPE", form, "a=1"],
    ["no type", 415, "PETREL_UNSUPPORTED_MEDIA_TYPE", {}, `{"count":1}`],
    ["an invalid type", 415, "PETREL_UNSUPPORTED_MEDIA_TYPE", { "content-type": "?" }, `{"count":1}`],
    ["a body too large", 413, "PETREL_PAYLOAD_TOO_LARGE", json, JSON.stringify({ data: "x".repeat(1_000) })],
    [
      "a length that is not the body's",
      400,
      "PETREL_INVALID_REQUEST",
      { ...json, "content-length": "5" },
      `{"count":1}`,
    ],
    ["an unknown field", 400, "PETREL_INVALID_REQUEST", json, `{"count":1,"kount":2}`],
    ["a missing field", 400, "PETREL_INVALID_REQUEST", json, `{}`],
    ["a string for a number", 400, "PETREL_INVALID_REQUEST", json, `{"count":"1"}`],
    ["a string for a flag", 400, "PETREL_INVALID_REQUEST", json, `{"count":1,"flag":"true"}`],
    ["null for a number", 400, "PETREL_INVALID_REQUEST", json, `{"count":null}`],
    ["a list for an object", 400, "PETREL_INVALID_REQUEST", json, `[]`],
  ])("%s: %i %s", async (_what, status, code, headers, payload) => {
    const answer = await app.inject({
      method: "POST",
      url: "/things",
      headers,
      ...(payload === undefined ? {} : { payload }),
    });
    expectError(answer, status, code);
  });

  test.each([
    [`{"count":1,"kount":2}`, "body/kount"],
    [`{"count":0}`, "body/count"],
  ])("%s: details name the field", async (payload, field) => {
    const answer = await app.inject({ method: "POST", url: "/things", headers: json, payload });
    expect(answer.json()).toMatchObject({ error: { details: { field } } });
  });

  test("an unknown query parameter is refused", async () => {
    const answer = await app.inject({
      method: "POST",
      url: "/things?befor=1",
      headers: json,
      payload: `{"count":1}`,
    });
    expectError(answer, 400, "PETREL_INVALID_REQUEST");
    expect(answer.json()).toMatchObject({ error: { details: { field: "querystring/befor" } } });
  });

  test.each([
    ["GET", "/nowhere?token=hush"],
    ["DELETE", "/things"],
    ["OPTIONS", "/things"],
  ] as const)("%s %s: 404, and the query is not repeated", async (method, url) => {
    const answer = await app.inject({ method, url });
    expectError(answer, 404, "PETREL_NOT_FOUND");
    expect(answer.body).not.toContain("hush");
  });

  test("a path that cannot be decoded", async () => {
    expectError(await app.inject({ method: "GET", url: "/things/%zz" }), 400, "PETREL_INVALID_REQUEST");
  });

  test("a parameter longer than any id", async () => {
    const answer = await app.inject({ method: "GET", url: `/things/${"x".repeat(513)}` });
    expect([400, 404]).toContain(answer.statusCode);
    expectError(
      answer,
      answer.statusCode,
      answer.statusCode === 404 ? "PETREL_NOT_FOUND" : "PETREL_INVALID_REQUEST",
    );
  });
});

describe("a valid request", () => {
  test("nothing is coerced, stripped or filled in", async () => {
    const sent = { count: 1, data: { any: [1, "2", null, { deep: true }], more: "x" } };
    const answer = await app.inject({ method: "POST", url: "/things", payload: sent });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual(sent);
  });

  test("a user id of 128 characters, each percent-encoded, fits a path", async () => {
    const answer = await app.inject({ method: "GET", url: `/things/${"%41".repeat(128)}` });
    expect(answer.json()).toEqual({ id: "A".repeat(128) });
  });
});

describe("an error from a route", () => {
  test.each([
    ["fault", 500, "PETREL_INTERNAL"],
    ["syntax", 500, "PETREL_INTERNAL"],
    ["nothing", 500, "PETREL_INTERNAL"],
    ["text", 500, "PETREL_INTERNAL"],
    ["unauthenticated", 401, "PETREL_UNAUTHENTICATED"],
    ["unavailable", 503, "PETREL_UNAVAILABLE"],
    ["limited", 429, "PETREL_RATE_LIMITED"],
  ])("%s: %i %s", async (how, status, code) => {
    const answer = await app.inject({ method: "GET", url: `/fails/${how}` });
    expectError(answer, status, code);
    expect(answer.body).not.toContain("hush");
  });

  test("501 is not retryable", async () => {
    const answer = await app.inject({ method: "GET", url: "/fails/unbuilt" });
    expect(answer.statusCode).toBe(501);
    expect(answer.json()).toEqual({
      error: { code: "PETREL_NOT_IMPLEMENTED", message: "Not yet.", retryable: false },
    });
  });

  test("401 says how to authenticate; 429 and 503 say when to retry, in whole seconds, at least 1", async () => {
    const headers = async (how: string) =>
      (await app.inject({ method: "GET", url: `/fails/${how}` })).headers;
    expect((await headers("unauthenticated"))["www-authenticate"]).toMatch(/^Bearer/);
    expect((await headers("unavailable"))["retry-after"]).toBe("3");
    expect((await headers("limited"))["retry-after"]).toBe("1");
    expect((await headers("fault"))["retry-after"]).toBeUndefined();
  });

  test.each([undefined, null, "text", 7])("%j can be turned into an error of the catalogue", (value) => {
    expect(toPetrelError(value).code).toBe("PETREL_INTERNAL");
  });
});

describe("health and version", () => {
  test("live, version", async () => {
    expect((await app.inject("/health/live")).json()).toEqual({ status: "live" });
    expect((await app.inject("/version")).json()).toEqual({
      service: "test",
      version: "1.2.3",
      node: process.version,
    });
  });

  test("ready names what is not ready", async () => {
    expect((await app.inject("/health/ready")).statusCode).toBe(200);
    isReady = false;
    const answer = await app.inject("/health/ready");
    isReady = true;
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toEqual({ status: "not ready", checks: { redis: "does not answer" } });
  });

  test("the OpenAPI document lists the routes, and not these", async () => {
    const { openapi, paths } = (await app.inject("/docs/json")).json<{ openapi: string; paths: object }>();
    expect(openapi).toBe("3.1.0");
    expect(Object.keys(paths)).toContain("/things");
    expect(Object.keys(paths)).not.toContain("/health/live");
  });
});

describe("below the framework, over a real socket", () => {
  let listening: HttpApp;
  let port: number;
  beforeAll(async () => {
    listening = await buildApp();
    await listening.listen({ port: 0, host: "127.0.0.1" });
    port = (listening.server.address() as AddressInfo).port;
  });
  afterAll(() => listening.close());

  /** Sends bytes as they are; returns status, headers and body of the answer, read until the socket ends. */
  function exchange(bytes: string | Buffer): Promise<{ statusCode: number; headers: object; body: string }> {
    return new Promise((resolve, reject) => {
      let text = "";
      const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
      socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
      socket.on("error", reject);
      socket.on("close", () => resolve(parseAnswer(text)));
    });
  }

  test.each([
    ["no HTTP at all", "hello\r\n\r\n"],
    ["an invalid header line", "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n"],
    ["headers beyond the limit", `GET / HTTP/1.1\r\nHost: h\r\nX: ${"x".repeat(20_000)}\r\n\r\n`],
    ["two lengths", "POST /things HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
  ])("%s", async (_what, bytes) => {
    expectError(await exchange(bytes), 400, "PETREL_INVALID_REQUEST");
  });

  test("does not read unexpected gzip as JSON", async () => {
    const body = gzipSync(`{"count":1}`);
    const head =
      "POST /things HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n" +
      `Content-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`;
    expectError(await exchange(Buffer.concat([Buffer.from(head), body])), 400, "PETREL_INVALID_JSON");
  });

  test("a request on an open connection while the server closes is answered, and is the connection's last", async () => {
    const closing = await buildApp();
    let proceed = (): void => {};
    const held = new Promise<void>((resolve) => (proceed = resolve));
    closing.get("/slow", async () => held.then(() => ({ done: true })));
    await closing.listen({ port: 0, host: "127.0.0.1" });
    const address = closing.server.address() as AddressInfo;
    let text = "";
    const socket = connect(address.port, "127.0.0.1");
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const ended = once(socket, "close");
    socket.write("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    await once(closing.server, "request");
    const closed = closing.close();
    await waitFor(() => !closing.server.listening, { what: "the port to close" });
    const second = once(closing.server, "request");
    socket.write("GET /version HTTP/1.1\r\nHost: h\r\n\r\n");
    await second;
    proceed();
    await ended;
    await closed;
    const answer = parseAnswer(text.slice(text.indexOf("HTTP/1.1", 1)));
    expect(answer).toMatchObject({ statusCode: 200, headers: { connection: "close" } });
    expect(JSON.parse(answer.body)).toMatchObject({ service: "test" });
  });
});

function parseAnswer(text: string): { statusCode: number; headers: object; body: string } {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { statusCode: Number(statusLine.split(" ")[1]), headers, body };
}
