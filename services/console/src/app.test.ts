// Tests of the console's application against small real servers in the places of auth and collect.
// Guarantees: the key stays on this side; foreign names and pages are refused; answers pass through.
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { readConfig } from "@petrel/shared/kernel/config";
import type { Service } from "@petrel/shared/service/open-service";
import { openTestService } from "@petrel/shared/testing/open-test-service";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { consoleConfigSchema } from "./config.js";
import { startConsole } from "./start-console.js";

const CREDENTIAL = "key1.secret-of-the-console";

interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let upstream: Server;
let asked: Asked[];
let answer: { status: number; body: string; headers?: Record<string, string> };
let service: Service;
let app: HttpApp;

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** @param baseUrl of auth, collect and the phones' simulator alike */
async function openConsole(baseUrl: string): Promise<void> {
  const config = readConfig(consoleConfigSchema, {
    PORT: "0",
    AUTH_URL: baseUrl,
    COLLECT_URL: baseUrl,
    APNS_SIMULATOR_URL: baseUrl,
    NODE_URLS: "ws://127.0.0.1:7110/v1/connect,ws://127.0.0.1:7111/v1/connect",
    CONSOLE_HOSTS: "console.example.test",
    API_KEY_FILE: "not read",
  });
  service = await openTestService("console", config);
  app = await startConsole({ config, credential: CREDENTIAL }, service, {
    pageDirectory: at("../public/"),
    // Its modules are TypeScript here; what counts is that the directory is served by its rules.
    sdkDirectory: at("../public/"),
  });
}

beforeEach(async () => {
  asked = [];
  answer = { status: 200, body: "{}" };
  upstream = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method, url, headers } = request;
      asked.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      response
        .writeHead(answer.status, { "content-type": "application/json", ...answer.headers })
        .end(answer.body);
    });
  });
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  await openConsole(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`);
});

afterEach(async () => {
  await service.lifecycle.stop("the test is over");
  upstream.close();
  upstream.closeAllConnections();
});

const local = { host: "localhost:7100" };

describe("the page", () => {
  it("is served with a policy that lets it connect only to the nodes", async () => {
    const page = await app.inject({ url: "/", headers: local });
    expect(page.statusCode).toBe(200);
    expect(page.headers["content-type"]).toContain("text/html");
    const policy = page.headers["content-security-policy"];
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("connect-src 'self' ws://127.0.0.1:7110 ws://127.0.0.1:7111;");
    for (const id of ["user", "sign-in", "state", "messages", "to", "data", "send", "sent", "topic"]) {
      expect(page.body).toContain(`id="${id}"`);
    }
  });

  it("is served with all the modules it imports", async () => {
    const seen = new Set<string>();
    const visit = async (path: string): Promise<void> => {
      if (seen.has(path) || path.startsWith("/sdk/")) return;
      seen.add(path);
      const module = await app.inject({ url: path, headers: local });
      expect([path, module.statusCode]).toEqual([path, 200]);
      for (const [, to] of module.body.matchAll(/from "(\.\/[^"]+)"/g)) {
        await visit(new URL(to ?? "", `http://x${path}`).pathname);
      }
    };
    await visit("/console.js");
    expect(seen.size).toBeGreaterThan(5);
  });

  it("gets the SDK's scripts and nothing else from its directory", async () => {
    expect((await app.inject({ url: "/sdk/console.js", headers: local })).statusCode).toBe(200);
    expect((await app.inject({ url: "/sdk/index.html", headers: local })).statusCode).toBe(404);
    expect((await app.inject({ url: "/sdk/..%2f..%2fpackage.json", headers: local })).statusCode).toBe(404);
  });

  it("answers an unknown path in the contract's error shape", async () => {
    const missing = await app.inject({ url: "/nothing", headers: local });
    expect(missing.statusCode).toBe(404);
    expect(missing.json()).toMatchObject({ error: { code: "PETREL_NOT_FOUND", retryable: false } });
  });
});

describe("the page's calls", () => {
  it("sign in with the console's key, which the page never sees", async () => {
    answer = { status: 201, body: '{"accessToken":"jwt","expiresIn":60,"tokenType":"Bearer"}' };
    const made = await app.inject({
      method: "POST",
      url: "/api/tokens",
      headers: local,
      payload: { userId: "alice" },
    });
    expect([made.statusCode, made.body]).toEqual([201, answer.body]);
    expect(made.headers["cache-control"]).toBe("no-store");
    expect(asked).toMatchObject([
      { method: "POST", url: "/v1/tokens", headers: { authorization: `Bearer ${CREDENTIAL}` } },
    ]);
    // What may be done in a topic is its rule's to say.
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      userId: "alice",
      topics: [{ topic: "*", can: ["subscribe", "publish", "presence"] }],
    });
    expect(JSON.stringify([made.headers, made.body])).not.toContain("secret");
  });

  it("send a message, whatever JSON its data is", async () => {
    for (const data of [{ a: [1, "2"] }, "text", 7, null, false]) {
      answer = { status: 202, body: '{"id":"m1","duplicate":false}' };
      const payload = { to: { user: "bob" }, data };
      const sent = await app.inject({ method: "POST", url: "/api/messages", headers: local, payload });
      expect([sent.statusCode, sent.json()]).toEqual([202, { id: "m1", duplicate: false }]);
      expect(JSON.parse(asked.at(-1)?.body ?? "")).toEqual(payload);
    }
  });

  it("read a message", async () => {
    answer = { status: 200, body: '{"id":"p1_x","state":"delivered"}' };
    const read = await app.inject({ url: "/api/messages/p1_x", headers: local });
    expect(read.json()).toEqual({ id: "p1_x", state: "delivered" });
    expect(asked[0]?.url).toBe("/v1/messages/p1_x");
  });

  it("pass errors on unchanged", async () => {
    answer = {
      status: 429,
      body: '{"error":{"code":"PETREL_RATE_LIMITED","message":"slow","retryable":true}}',
      headers: { "retry-after": "7" },
    };
    const refused = await app.inject({
      method: "POST",
      url: "/api/messages",
      headers: local,
      payload: { to: { user: "bob" }, data: 1 },
    });
    expect([refused.statusCode, refused.body, refused.headers["retry-after"]]).toEqual([
      429,
      answer.body,
      "7",
    ]);
  });

  it.each([
    ["/api/tokens", { userId: "not a user" }],
    ["/api/tokens", { userId: "alice", ttlSeconds: 9 }],
    ["/api/messages", { to: { user: "bob" } }],
    ["/api/messages", { to: { users: ["bob"] }, data: 1 }],
  ])("refuse a wrong body for %s: %o", async (url, payload) => {
    const refused = await app.inject({ method: "POST", url, headers: local, payload });
    expect([refused.statusCode, asked]).toEqual([400, []]);
  });

  it("carry a request id, the page's own or a new one, and the answer returns it", async () => {
    answer = { status: 404, body: '{"error":{"code":"PETREL_NOT_FOUND","message":"no","retryable":false}}' };
    const given = { ...local, "x-request-id": "page-7" };
    const named = await app.inject({ url: "/api/messages/m1", headers: given });
    expect([named.statusCode, named.headers["x-request-id"]]).toEqual([404, "page-7"]);
    const made = await app.inject({
      method: "POST",
      url: "/api/tokens",
      headers: local,
      payload: { userId: "ada" },
    });
    const phone = await app.inject({ url: "/api/phones/ada", headers: local });
    const ids = [named, made, phone].map(({ headers }) => headers["x-request-id"]);
    expect(asked.map(({ headers }) => headers["x-request-id"])).toEqual(ids);
    expect(new Set(ids).size).toBe(3);
  });

  it("answer 503 if the service does not answer, or not in JSON", async () => {
    answer = { status: 200, body: "<html>" };
    const odd = await app.inject({ url: "/api/messages/m1", headers: local });
    const closed = once(upstream, "close");
    upstream.close();
    upstream.closeAllConnections();
    await closed;
    const away = await app.inject({ url: "/api/messages/m1", headers: local });
    for (const { statusCode, headers, body } of [odd, away]) {
      expect([statusCode, headers["retry-after"]]).toEqual([503, "1"]);
      expect(JSON.parse(body)).toMatchObject({ error: { code: "PETREL_UNAVAILABLE", retryable: true } });
    }
  });

  it("only read when the page only reads, whatever its query says", async () => {
    for (const url of ["/?user=mallory", "/api/config", "/api/messages/p1_m", "/api/phones/ada"]) {
      for (const method of ["GET", "HEAD"] as const) await app.inject({ method, url, headers: local });
    }
    expect(asked.length).toBeGreaterThan(0);
    expect(new Set(asked.map(({ method }) => method))).toEqual(new Set(["GET"]));
    // Nor is there a way to name a change in an address.
    for (const url of [
      "/api/tokens?userId=mallory",
      "/api/phones/ada?_method=DELETE",
      "/api/messages?to=ada",
    ]) {
      const seen = asked.length;
      await app.inject({ url, headers: { ...local, "x-http-method-override": "POST" } });
      expect(asked.slice(seen).filter(({ method }) => method !== "GET")).toEqual([]);
    }
  });

  it("tell the page where the nodes are", async () => {
    const config = await app.inject({ url: "/api/config", headers: local });
    expect(config.json()).toEqual({
      nodeUrls: ["ws://127.0.0.1:7110/v1/connect", "ws://127.0.0.1:7111/v1/connect"],
      hasPhones: true,
      hasBrowsers: false,
    });
  });
});

describe("the phone", () => {
  const phone = { badge: 2, notifications: [{ apnsId: "A", payload: { aps: { alert: "hello" } } }] };

  /** What the upstream answers, by the path asked for. */
  function answerByPath(answers: Readonly<Record<string, string>>): void {
    upstream.removeAllListeners("request");
    upstream.on("request", (request, response) => {
      const { method, url, headers } = request;
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        asked.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
        const found = Object.entries(answers).find(([part]) => url?.includes(part));
        response.writeHead(found === undefined ? 204 : 200, { "content-type": "application/json" });
        response.end(found?.[1]);
      });
    });
  }

  it("is registered with auth like a real one, the same one each time for a user", async () => {
    answerByPath({});
    for (const userId of ["alice", "alice", "bob"]) {
      const put = await app.inject({ method: "PUT", url: `/api/phones/${userId}`, headers: local });
      expect([put.statusCode, put.body]).toEqual([204, ""]);
    }
    const bodies = asked.map(({ body }) => JSON.parse(body) as { token: string });
    expect(asked[2]).toMatchObject({
      method: "PUT",
      url: "/v1/users/bob/devices",
      headers: { authorization: `Bearer ${CREDENTIAL}` },
    });
    expect(bodies[0]).toEqual({
      platform: "ios",
      token: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      topic: "com.example.petrel",
      environment: "production",
    });
    expect(bodies[1]).toEqual(bodies[0]);
    expect(bodies[2]?.token).not.toBe(bodies[0]?.token);
  });

  it("shows the simulator's notifications, without sending its API a key, and whether it is registered", async () => {
    answerByPath({});
    await app.inject({ method: "PUT", url: "/api/phones/alice", headers: local });
    const { token } = JSON.parse(asked[0]?.body ?? "") as { token: string };
    const item = { id: "d_1", platform: "ios", topic: "com.example.petrel", tokenEnd: token.slice(-6) };
    for (const [items, registered] of [
      [[item], true],
      [[{ ...item, topic: "com.example.other" }], false],
      [[], false],
    ] as const) {
      asked = [];
      answerByPath({
        [`/devices/${token}/screen`]: JSON.stringify(phone),
        "/v1/users/alice/devices": JSON.stringify({ items, nextCursor: null }),
      });
      const shown = await app.inject({ url: "/api/phones/alice", headers: local });
      expect(shown.json()).toEqual({ registered, ...phone });
      expect(asked.map(({ headers }) => headers.authorization)).toEqual([undefined, `Bearer ${CREDENTIAL}`]);
    }
  });

  it("is removed by its id, and cleared", async () => {
    answerByPath({});
    await app.inject({ method: "PUT", url: "/api/phones/alice", headers: local });
    const { token } = JSON.parse(asked[0]?.body ?? "") as { token: string };
    const item = { id: "d_1", topic: "com.example.petrel", tokenEnd: token.slice(-6) };
    answerByPath({ "devices?limit": JSON.stringify({ items: [item] }) });
    const removed = await app.inject({ method: "DELETE", url: "/api/phones/alice", headers: local });
    expect([removed.statusCode, asked.at(-1)?.method, asked.at(-1)?.url]).toEqual([
      204,
      "DELETE",
      "/v1/users/alice/devices/d_1",
    ]);
    const cleared = await app.inject({
      method: "DELETE",
      url: "/api/phones/alice/notifications",
      headers: local,
    });
    expect([cleared.statusCode, asked.at(-1)?.url]).toEqual([204, `/devices/${token}/notifications`]);
  });

  it("is refused to pages of other sites, and for invalid user ids", async () => {
    const foreign = { ...local, "sec-fetch-site": "cross-site" };
    const put = await app.inject({ method: "PUT", url: "/api/phones/alice", headers: foreign });
    const nobody = await app.inject({ method: "PUT", url: "/api/phones/a%20b", headers: local });
    expect([put.statusCode, nobody.statusCode, asked]).toEqual([403, 400, []]);
  });
});

describe("foreign pages", () => {
  it.each(["localhost", "127.0.0.1:7100", "[::1]:7100", "console.example.test", "CONSOLE.example.test:80"])(
    "do not include those under the console's own name %s",
    async (host) => {
      expect((await app.inject({ url: "/api/config", headers: { host } })).statusCode).toBe(200);
    },
  );

  it.each(["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "10.0.0.1:7100"])(
    "are refused under the name %o",
    async (host) => {
      for (const url of ["/", "/api/config"]) {
        const refused = await app.inject({ url, headers: { host } });
        expect(refused.statusCode).toBe(403);
        expect(refused.json()).toMatchObject({ error: { code: "PETREL_ORIGIN_REFUSED" } });
      }
    },
  );

  it("are refused under an invalid host name", async () => {
    expect((await app.inject({ url: "/api/config", headers: { host: "a@localhost" } })).statusCode).toBe(400);
  });

  it.each([
    [{ origin: "https://evil.test" }, 403],
    [{ origin: "null" }, 403],
    [{ origin: "http://localhost:9999" }, 403],
    [{ "sec-fetch-site": "cross-site" }, 403],
    [{ "sec-fetch-site": "same-site" }, 403],
    [{ origin: "http://localhost:7100", "sec-fetch-site": "same-origin" }, 200],
    [{}, 200],
  ])("with the headers %o get %i", async (headers, status) => {
    const answered = await app.inject({
      method: "POST",
      url: "/api/tokens",
      headers: { ...local, ...headers },
      payload: { userId: "alice" },
    });
    expect([answered.statusCode, asked.length]).toEqual([status, status === 200 ? 1 : 0]);
  });

  it("cannot send requests that need no browser permission: a form or plain text", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
      const refused = await app.inject({
        method: "POST",
        url: "/api/tokens",
        headers: { ...local, "content-type": type },
        payload: '{"userId":"alice"}',
      });
      expect([refused.statusCode, asked]).toEqual([415, []]);
    }
  });

  it("do not keep probes out, whatever address they use", async () => {
    for (const url of ["/health/live", "/health/ready", "/version"]) {
      expect((await app.inject({ url, headers: { host: "10.1.2.3:7100" } })).statusCode).toBe(200);
    }
  });
});
