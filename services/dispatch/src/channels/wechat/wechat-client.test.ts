// Tests the requests to WeChat against a bare HTTP server.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { freePort } from "@petrel/shared/testing/free-port";
import type { WechatApp } from "./wechat-apps.js";
import { WechatClient, type WechatClientOptions } from "./wechat-client.js";

const app: WechatApp = {
  appid: "wx1",
  kind: "service-account",
  secret: "s3&t",
  template: undefined,
  opens: {},
};
const never = new AbortController().signal;

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

let server: Server;
let seen: Seen[];
let sockets: Set<Socket>;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
const clients: WechatClient[] = [];

beforeEach(async () => {
  [seen, sockets] = [[], new Set()];
  answer = (_request, response) => void response.end('{"errcode":0,"errmsg":"ok","msgid":1}');
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => void (body += String(chunk)));
    request.on("end", () => {
      seen.push({ method: request.method ?? "", url: request.url ?? "", body });
      answer(request, response);
    });
  });
  server.on("connection", (socket) => void sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

function open(more: Partial<WechatClientOptions> = {}): WechatClient {
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  const client = new WechatClient({
    endpoint,
    tokenInterface: "stable",
    timeoutMs: 60_000,
    connections: 4,
    ...more,
  });
  clients.push(client);
  return client;
}

describe("a token", () => {
  const grant = (_request: unknown, response: ServerResponse): void =>
    void response.end('{"access_token":"t1","expires_in":7200}');

  test("is requested from stable_token, and never forced", async () => {
    answer = grant;
    expect(await open().fetchToken(app)).toEqual({ kind: "granted", token: "t1", expiresInMs: 7_200_000 });
    const [request] = seen;
    expect(request).toMatchObject({ method: "POST", url: "/cgi-bin/stable_token" });
    expect(JSON.parse(request?.body ?? "")).toEqual({
      grant_type: "client_credential",
      appid: "wx1",
      secret: "s3&t",
      force_refresh: false,
    });
  });

  test("or from the older interface, if configured", async () => {
    answer = grant;
    expect(await open({ tokenInterface: "legacy" }).fetchToken(app)).toMatchObject({ token: "t1" });
    expect(seen[0]).toMatchObject({
      method: "GET",
      url: "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=s3%26t",
    });
  });

  test.each([
    '{"errcode":40125,"errmsg":"invalid appsecret"}',
    '{"access_token":"","expires_in":7200}',
    "{}",
    "null",
  ])("%s is not a token", async (text) => {
    answer = (_request, response) => void response.end(text);
    expect(await open().fetchToken(app)).not.toMatchObject({ kind: "granted" });
  });
});

describe("a message", () => {
  test.each([
    ["service-account", "/cgi-bin/message/template/send?access_token=t%2B1"],
    ["mini-program", "/cgi-bin/message/subscribe/send?access_token=t%2B1"],
  ] as const)("of a %s goes to %s", async (kind, url) => {
    expect(await open().send(kind, "t+1", '{"touser":"o1"}', never)).toEqual({
      kind: "answered",
      errcode: 0,
      errmsg: "ok",
    });
    expect(seen).toEqual([{ method: "POST", url, body: '{"touser":"o1"}' }]);
  });

  test("reuses a bounded number of connections", async () => {
    const client = open();
    for (let i = 0; i < 5; i++) {
      await Promise.all(Array.from({ length: 20 }, () => client.send("mini-program", "t", "{}", never)));
    }
    expect(seen).toHaveLength(100);
    expect(sockets.size).toBeLessThanOrEqual(4);
  });
});

describe("no answer", () => {
  const send = (client: WechatClient, signal = never) => client.send("mini-program", "t", "{}", signal);

  test("from a server that is down: it was certainly not sent", async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    expect(await send(open({ endpoint }))).toEqual({
      kind: "unanswered",
      why: "ECONNREFUSED",
      mayHaveArrived: false,
    });
  });

  test("from one that has read it: it may have arrived", async () => {
    answer = () => undefined;
    expect(await send(open({ timeoutMs: 150 }))).toEqual({
      kind: "unanswered",
      why: "no answer within 150 ms",
      mayHaveArrived: true,
    });
    answer = (request) => request.socket.destroy();
    expect(await send(open())).toMatchObject({ kind: "unanswered", mayHaveArrived: true });
  });

  test("while it waits for a connection: it was not sent", async () => {
    answer = () => undefined;
    const client = open({ timeoutMs: 60_000, connections: 1 });
    const first = new AbortController();
    const holding = send(client, first.signal);
    const second = new AbortController();
    const waiting = send(client, second.signal);
    second.abort();
    expect(await waiting).toMatchObject({ kind: "unanswered", mayHaveArrived: false });
    first.abort();
    expect(await holding).toMatchObject({ kind: "unanswered" });
  });

  test.each([
    [502, "<html>"],
    [200, "<html>"],
    [200, '"text"'],
  ])("HTTP %i with %s is not WeChat's", async (status, text) => {
    answer = (_request, response) => void response.writeHead(status).end(text);
    expect(await send(open())).toEqual({
      kind: "unanswered",
      why: `HTTP ${status}, and no answer of WeChat's`,
      mayHaveArrived: true,
    });
  });

  test("does not read an endless answer to its end", async () => {
    answer = (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
        response.once("drain", more);
      };
      more();
    };
    expect(await send(open())).toMatchObject({ kind: "unanswered", why: "an endless answer" });
  });
});
