// Tests of asking auth about a token, against a real HTTP server.
// Guarantees: only a plain "active" with good claims passes.
import { createHash } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createIntrospectToken } from "./introspect-token.js";
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
  verify = createIntrospectToken({ authUrl, credential: "node.s3cret", timeoutMs: 1_500 });
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function reply(body: unknown, status = 200): (response: ServerResponse) => void {
  return (response) => void response.writeHead(status).end(JSON.stringify(body));
}

test("an active token gives what it says; the question is a form, with the node's key", async () => {
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

test("one that auth calls by its signed text is known by the names of the release before, too", async () => {
  const nameOf = (text: string): string => `sha256.${createHash("sha256").update(text).digest("base64url")}`;
  answer = reply({ ...active, jti: nameOf("head.claims") });
  expect((await verify("head.claims.sign")).formerNames).toEqual([nameOf("head.claims.sign")]);
  // auth is of the release before: that is its name already.
  answer = reply({ ...active, jti: nameOf("head.claims.sign") });
  expect(await verify("head.claims.sign")).not.toHaveProperty("formerNames");
});

test.each<[string, unknown]>([
  ["inactive", { active: false }],
  ["active as a text", { ...active, active: "true" }],
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
  ["no object", reply(null)],
  ["no JSON", (response) => void response.end("oops")],
  ["nothing in time", () => undefined],
  ["a cut connection", (response) => void response.destroy()],
])("after %s the token is neither good nor bad", async (_what, bad) => {
  answer = bad;
  await expect(verify("t")).rejects.toEqual(expect.objectContaining({ code: "PETREL_UNAVAILABLE" }));
});

test("an empty or endless token is not asked about", async () => {
  answer = reply(active);
  for (const token of ["", "x".repeat(20_000)]) {
    await expect(verify(token)).rejects.toEqual(expect.objectContaining({ code: "PETREL_TOKEN_INVALID" }));
  }
});
