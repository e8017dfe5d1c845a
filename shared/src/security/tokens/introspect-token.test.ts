// Tests asking auth about a token, against a real HTTP server.
// Guarantees: only a plain "active" with good claims passes.
import { createHash } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { createIntrospection, type Introspection } from "./introspect-token.js";
import type { VerifyToken } from "./verified-token.js";

const active = {
  active: true,
  sub: "alice",
  jti: "j",
  iat: 1,
  exp: 2,
  gen: 0,
  device: { id: "d", platform: "web" },
};
let server: Server;
let verify: VerifyToken;
let introspection: Introspection;
const lines: string[] = [];
const note = (fields: { readonly reason?: string }, text: string): void =>
  void lines.push(`${text}: ${fields.reason ?? ""}`);
const noting = Object.assign(createLogger({ service: "test", level: "silent" }), { warn: note, info: note });
const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => clock.nowMs };
let answer: (response: ServerResponse) => void = () => undefined;
let last: { url: string; headers: IncomingHttpHeaders; body: string };

beforeAll(async () => {
  server = createServer((request, response) => {
    void text(request).then((body) => {
      last = { url: request.url ?? "", headers: request.headers, body };
      answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const authUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  introspection = createIntrospection({
    authUrl,
    credential: "node.s3cret",
    timeoutMs: 1_500,
    logger: noting,
    clock,
  });
  verify = introspection.verifyToken;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function reply(body: unknown, status = 200): (response: ServerResponse) => void {
  return (response) => void response.writeHead(status).end(JSON.stringify(body));
}

test("passes on the id of the request that brought the token, if there is one", async () => {
  answer = reply(active);
  await verify("t", "edge-1");
  expect(last.headers["x-request-id"]).toBe("edge-1");
  await verify("t");
  expect(last.headers["x-request-id"]).toBeUndefined();
});

test("an active token gives its claims; the request is a form, with the node's key", async () => {
  answer = reply(active);
  expect(await verify("a+b&c=d")).toEqual({
    userId: "alice",
    jti: "j",
    issuedAtMs: 1_000,
    expiresAtMs: 2_000,
    generation: 0,
    device: { id: "d", platform: "web" },
  });
  expect(last.url).toBe("/v1/introspect");
  expect(last.headers.authorization).toBe("Bearer node.s3cret");
  expect(last.headers["content-type"]).toBe("application/x-www-form-urlencoded");
  expect(new URLSearchParams(last.body).get("token")).toBe("a+b&c=d");
});

test("one that auth names by its signed text is also known by the previous release's names", async () => {
  const nameOf = (text: string): string => `sha256.${createHash("sha256").update(text).digest("base64url")}`;
  answer = reply({ ...active, jti: nameOf("head.claims") });
  expect((await verify("head.claims.sign")).formerNames).toEqual([nameOf("head.claims.sign")]);
  // An auth of the release before uses that name already.
  answer = reply({ ...active, jti: nameOf("head.claims.sign") });
  expect(await verify("head.claims.sign")).not.toHaveProperty("formerNames");
});

test.each<[string, unknown]>([
  ["inactive", { active: false }],
  ["active as a string", { ...active, active: "true" }],
  ["no user", { ...active, sub: undefined }],
  ["no generation", { ...active, gen: undefined }],
])("%s is invalid", async (_what, body) => {
  answer = reply(body);
  await expect(verify("t")).rejects.toEqual(expect.objectContaining({ code: "PETREL_TOKEN_INVALID" }));
});

test.each<[string, (response: ServerResponse) => void]>([
  ["401 for the node's key", reply({ error: {} }, 401)],
  ["403 for the node's key", reply({ error: {} }, 403)],
  ["503", reply({ error: {} }, 503)],
  ["not an object", reply(null)],
  ["invalid JSON", (response) => void response.end("oops")],
  ["nothing in time", () => undefined],
  ["a cut connection", (response) => void response.destroy()],
])("after %s the token is neither good nor bad", async (_what, bad) => {
  answer = bad;
  await expect(verify("t")).rejects.toEqual(expect.objectContaining({ code: "PETREL_UNAVAILABLE" }));
});

test("does not ask about an empty or endless token", async () => {
  answer = reply(active);
  for (const token of ["", "x".repeat(20_000)]) {
    await expect(verify(token)).rejects.toEqual(expect.objectContaining({ code: "PETREL_TOKEN_INVALID" }));
  }
});

test("reports a revoked key once, for all refused tokens; and that it works again", async () => {
  answer = reply({ active: false });
  await introspection.check();
  lines.length = 0;
  clock.nowMs += 10_000;
  answer = reply({ error: {} }, 401);
  for (let i = 0; i < 20; i++)
    await expect(verify("t")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  expect(lines).toEqual([
    expect.stringMatching(/introspection fails.*: auth answered 401: INTROSPECT_KEY_FILE/),
  ]);
  expect(introspection.problem).toContain("401");
  await expect(introspection.check()).rejects.toThrow("auth answered 401");
  // Another reason is another line.
  clock.nowMs += 10_000;
  answer = (response) => response.destroy();
  await expect(verify("t")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  expect(lines).toHaveLength(2);
  // Nobody connects to a node that is not ready, so it must find out by itself.
  answer = reply({ active: false });
  clock.nowMs += 10_000;
  await introspection.check();
  expect(introspection.problem).toBeUndefined();
  expect(lines.slice(2)).toEqual(["tokens can be checked again: "]);
  expect(new URLSearchParams(last.body).get("token")).toBe("probe");
});

test("a node whose key was never valid says so when first asked whether it is ready", async () => {
  answer = reply({ error: {} }, 403);
  const url = new URL("/", `http://127.0.0.1:${(server.address() as AddressInfo).port}`).origin;
  const fresh = createIntrospection({ authUrl: url, credential: "no.good", logger: noting, clock });
  await expect(fresh.check()).rejects.toThrow("auth answered 403");
});

test("auth's answer about one token is no outage", async () => {
  answer = reply({ active: false });
  clock.nowMs += 10_000;
  await introspection.check();
  answer = reply({ error: {} }, 400);
  await expect(verify("strange")).rejects.toMatchObject({ code: "PETREL_UNAVAILABLE" });
  expect(introspection.problem).toBeUndefined();
});
