// Tests producers at the border of HTTP: a listening server, raw bytes.
// Guarantees: a stranger's answer does not depend on the body; unchecked bytes are bounded.
import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { PassThrough } from "node:stream";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildHttpApp, type HttpApp } from "../../kernel/http/http-app.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { addJsonBodyReader } from "../../kernel/http/bodies/read-json-body.js";
import { ProducerAuthenticator } from "./authenticate-producer.js";
import { authorize, decorateWithProducer, producerOf } from "./authorize-producer.js";
import { createAtRestCipher } from "../encrypt-at-rest.js";
import { hashProducerSecret } from "./producer-keys.js";
import { readSignedBody } from "./read-signed-body.js";
import { UncheckedBytes } from "./unchecked-bytes.js";
import { signRequest } from "./request-signature.js";
import { sealProducerSecret } from "./seal-producer-secret.js";

const BODY_LIMIT_BYTES = 256 * 1024;
const logger = createLogger({ service: "test", level: "silent" });
const cipher = createAtRestCipher(randomBytes(32));

let app: HttpApp;
let port: number;
let handled = 0;

beforeAll(async () => {
  const spent = new Set<string>();
  const authenticator = new ProducerAuthenticator({
    findKey: async (id) =>
      ["shop", "reader"].includes(id)
        ? {
            id,
            owner: "shop",
            scopes: id === "shop" ? ["send"] : ["read"],
            secretSha256: hashProducerSecret("s3cret"),
            sealedSecret: sealProducerSecret(cipher, id, "s3cret"),
          }
        : undefined,
    signatures: {
      openSecret: ({ sealed, keyId, secretSha256 }) =>
        cipher.decrypt(sealed, `producer-key:${keyId}:${secretSha256}`),
      spendNonce: async (keyId, nonce) => spent.size < spent.add(`${keyId}\n${nonce}`).size,
      logger,
    },
  });
  app = await buildHttpApp({
    service: "test",
    version: "0",
    logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    documented: true,
    readiness: () => ({ ready: true, checks: {} }),
  });
  addJsonBodyReader(app, BODY_LIMIT_BYTES);
  decorateWithProducer(app);
  for (const method of ["GET", "POST", "DELETE"] as const) {
    app.route({
      method,
      url: "/v1/things",
      ...(method === "GET" ? {} : { schema: { body: {} } }),
      onRequest: authorize(authenticator, "send"),
      handler: (request) => {
        handled++;
        return { by: producerOf(request).keyId, body: request.body ?? null, query: request.query };
      },
    });
  }
  app.get("/open", () => ({ open: true }));
  port = Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => app.close());

interface Sent {
  readonly method?: string;
  readonly target?: string;
  readonly body?: Buffer | string;
  /** Signed instead of the bytes that are sent. */
  readonly signedBody?: Buffer | string;
  readonly key?: string;
  readonly id?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly chunked?: boolean;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
}

let nonces = 0;

function headersFor(sent: Sent): Record<string, string> {
  const { method = "POST", target = "/v1/things", body = "", key = "shop", id = `n${++nonces}` } = sent;
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const bodySha256 = createHash("sha256")
    .update(sent.signedBody ?? body)
    .digest("hex");
  const signature = signRequest({ id, timestamp, method, target, bodySha256 }, "s3cret");
  return {
    "petrel-key": key,
    "petrel-id": id,
    "petrel-timestamp": timestamp,
    "petrel-signature": `v1,${signature}`,
    ...(body.length === 0 ? {} : { "content-type": "application/json" }),
    ...sent.headers,
  };
}

function send(sent: Sent): Promise<Answer> {
  const { method = "POST", target = "/v1/things", body = "", chunked = false } = sent;
  return new Promise((resolve, reject) => {
    const headers = headersFor(sent);
    const asking = httpRequest(
      {
        port,
        host: "127.0.0.1",
        method,
        path: target,
        headers: chunked ? headers : { ...headers, "content-length": String(Buffer.byteLength(body)) },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: text === "" ? undefined : JSON.parse(text),
          }),
        );
      },
    );
    asking.on("error", reject);
    asking.end(body);
  });
}

function coded(status: number, code: string) {
  return expect.objectContaining({ status, body: { error: expect.objectContaining({ code }) } });
}

const json = '{"text":"hello ✓"}';

test("accepts signed requests, with and without a body, and parses them like others", async () => {
  expect(await send({ body: json })).toMatchObject({
    status: 200,
    body: { by: "shop", body: { text: "hello ✓" } },
  });
  expect(await send({ method: "GET", target: "/v1/things?a=1&b=%20" })).toMatchObject({
    status: 200,
    body: { body: null, query: { a: "1", b: " " } },
  });
  expect(await send({ method: "DELETE" })).toMatchObject({ status: 200 });
  expect(await send({ method: "POST" })).toMatchObject({ status: 200, body: { body: null } });
  expect(await send({ body: json, chunked: true })).toMatchObject({ status: 200 });
  const large = JSON.stringify({ text: "x".repeat(200_000) });
  expect(await send({ body: large })).toMatchObject({
    status: 200,
    body: { body: { text: "x".repeat(200_000) } },
  });
});

test("checks a compressed body as it is sent", async () => {
  const packed = gzipSync(json);
  const headers = { "content-encoding": "gzip" };
  expect(await send({ body: packed, headers })).toMatchObject({
    status: 200,
    body: { body: { text: "hello ✓" } },
  });
  expect(await send({ body: packed, headers, signedBody: json })).toEqual(
    coded(401, "PETREL_SIGNATURE_INVALID"),
  );
  // Packed again it means the same, but it is not what was signed.
  expect(
    await send({ body: gzipSync(json, { level: 1 }), headers, signedBody: gzipSync(json, { level: 0 }) }),
  ).toEqual(coded(401, "PETREL_SIGNATURE_INVALID"));
});

test("checks the target as it was sent, not as it reads", async () => {
  const headers = headersFor({ method: "GET", target: "/v1/things?a=%41" });
  expect(await send({ method: "GET", target: "/v1/things?a=A", headers })).toEqual(
    coded(401, "PETREL_SIGNATURE_INVALID"),
  );
  expect(await send({ method: "GET", target: "/v1/things?a=%41", headers })).toMatchObject({ status: 200 });
});

test("checks an unexpected body of a GET all the same", async () => {
  expect(await send({ method: "GET", body: json })).toMatchObject({ status: 200 });
  expect(await send({ method: "GET", body: json, signedBody: "" })).toEqual(
    coded(401, "PETREL_SIGNATURE_INVALID"),
  );
});

test("tells a stranger about the signature, whatever the body is", async () => {
  const before = handled;
  for (const body of ["{ not json", json, "\u0000", "[".repeat(1_000)]) {
    for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"]) {
      const answer = await send({ body, signedBody: "other", headers: { "content-type": type } });
      expect(answer).toEqual(coded(401, "PETREL_SIGNATURE_INVALID"));
      expect(answer.headers["www-authenticate"]).toContain("Bearer");
    }
  }
  expect(await send({ body: json, key: "nobody" })).toEqual(coded(401, "PETREL_UNAUTHENTICATED"));
  expect(handled).toBe(before);
  // Its signer learns what is wrong with it.
  expect(await send({ body: "{ not json" })).toEqual(coded(400, "PETREL_INVALID_JSON"));
  expect(await send({ body: json, headers: { "content-type": "text/plain" } })).toEqual(
    coded(415, "PETREL_UNSUPPORTED_MEDIA_TYPE"),
  );
});

test("checks the scope after the signature", async () => {
  expect(await send({ key: "reader", body: json, signedBody: "other" })).toEqual(
    coded(401, "PETREL_SIGNATURE_INVALID"),
  );
  expect(await send({ key: "reader", body: json })).toEqual(coded(403, "PETREL_FORBIDDEN"));
});

test("accepts a nonce once, even if fifty present it at once", async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => send({ body: json, id: "same" })));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ status }) => status !== 200)).toEqual(
    Array.from({ length: 49 }, () => coded(401, "PETREL_SIGNATURE_REPLAYED")),
  );
});

test("accepts one credential at a time; one header alone is not a signature, and no bearer passes beside it", async () => {
  const authorization = "Bearer shop.s3cret";
  expect(await send({ body: json, headers: { authorization } })).toEqual(
    coded(400, "PETREL_INVALID_REQUEST"),
  );
  const ask = (headers: Record<string, string>) =>
    app.inject({ method: "POST", url: "/v1/things", headers }).then((answer) => answer.statusCode);
  expect(await ask({ authorization })).toBe(200);
  for (const name of ["petrel-key", "petrel-id", "petrel-timestamp", "petrel-signature"]) {
    expect(await ask({ authorization, [name]: "x" })).toBe(400);
    expect(await ask({ [name]: "x" })).toBe(401);
    expect(await ask({ [name]: "" })).toBe(401);
  }
  expect(await ask({})).toBe(401);
});

test("refuses a key, nonce or time that comes twice, instead of choosing one", async () => {
  const headers = headersFor({ method: "GET" });
  for (const name of ["petrel-key", "petrel-id", "petrel-timestamp"]) {
    const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
    const twice = `${name}: ${headers[name] ?? ""}\r\n`;
    const answer = await sendRaw(
      `GET /v1/things HTTP/1.1\r\nhost: x\r\n${lines.join("")}${twice}connection: close\r\n\r\n`,
    );
    expect(answer).toContain(" 400 ");
  }
});

test("answers 413 to a body beyond the route's bound, with or without a stated length", async () => {
  const body = JSON.stringify("x".repeat(BODY_LIMIT_BYTES));
  expect(await send({ body })).toEqual(coded(413, "PETREL_PAYLOAD_TOO_LARGE"));
  expect(await send({ body, chunked: true })).toEqual(coded(413, "PETREL_PAYLOAD_TOO_LARGE"));
});

test("public routes need no credential, nor do the framework's", async () => {
  expect(await send({ method: "GET", target: "/docs/json" })).toMatchObject({ status: 200 });
  expect((await app.inject("/docs/json")).statusCode).toBe(200);
  expect(await send({ method: "GET", target: "/open" })).toMatchObject({ status: 200 });
  expect(await send({ method: "GET", target: "/none" })).toEqual(coded(404, "PETREL_NOT_FOUND"));
});

test("bounds unchecked bytes, with a small share for each; finished ones are returned", async () => {
  const budget = new UncheckedBytes(100_000);
  const begin = () => {
    const payload = new PassThrough();
    const reading = readSignedBody(payload, { maxBytes: 1_000_000, budget, deadlineMs: 60_000 });
    return { payload, reading };
  };
  const free = 64 * 1024;
  const small = Array.from({ length: 20 }, begin);
  for (const { payload } of small) payload.write(Buffer.alloc(free));
  const large = begin();
  large.payload.write(Buffer.alloc(free + 90_000));
  await expect.poll(() => budget.taken).toBe(90_000);
  const other = begin();
  const refused = expect(other.reading).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE", status: 503 });
  other.payload.write(Buffer.alloc(free + 20_000));
  await refused;
  expect(budget.taken).toBe(90_000);
  large.payload.end();
  const { bytes, sha256 } = await large.reading;
  expect(bytes).toHaveLength(free + 90_000);
  expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  expect(budget.taken).toBe(0);
  for (const { payload } of small) payload.end();
  for (const { reading } of small) await reading;
  // A body that breaks off gives its share back too.
  const broken = begin();
  const breaking = expect(broken.reading).rejects.toMatchObject({ code: "PETREL_INVALID_REQUEST" });
  broken.payload.write(Buffer.alloc(free + 10));
  broken.payload.destroy(new Error("reset"));
  await breaking;
  expect(budget.taken).toBe(0);
  // So does one that ended before it was read.
  await expect(
    readSignedBody(broken.payload, { maxBytes: 1, budget, deadlineMs: 60_000 }),
  ).rejects.toMatchObject({ code: "PETREL_INVALID_REQUEST" });
});

test("refuses a body that is too large before it has all arrived", async () => {
  const budget = new UncheckedBytes(1_000_000);
  const payload = new PassThrough();
  const reading = readSignedBody(payload, { maxBytes: 100_000, budget, deadlineMs: 60_000 });
  const refused = expect(reading).rejects.toMatchObject({ code: "PETREL_PAYLOAD_TOO_LARGE", status: 413 });
  payload.write(Buffer.alloc(100_000));
  payload.write("x");
  await refused;
  expect(budget.taken).toBe(0);
});

test("gives up a body that trickles in", async () => {
  const budget = new UncheckedBytes(0);
  const payload = new PassThrough();
  const reading = readSignedBody(payload, { maxBytes: 10, budget, deadlineMs: 20 });
  payload.write("x");
  await expect(reading).rejects.toMatchObject({ code: "PETREL_REQUEST_TIMEOUT" });
});

/** Sends the bytes as they are. @returns the answer's, once the connection is closed */
function sendRaw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => (answer += chunk));
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}
