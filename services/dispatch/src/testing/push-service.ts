// Tests only: a push service as a real HTTP server that answers as it is told, and browsers that subscribe to it.
// Guarantees: every push is kept as it arrived, before it is answered; `read` decrypts with the browser's own keys.
import { createECDH, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { NewDevice } from "@petrel/shared/protocol/fallback/device";
import { decryptPush } from "@petrel/shared/testing/peers/decrypt-push";

export interface ReceivedPush {
  /** The endpoint's path. */
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The JSON that the browser reads. */
  readonly payload: Readonly<Record<string, unknown>>;
  readonly bytes: number;
}

export interface TestPushService {
  readonly origin: string;
  readonly pushes: readonly ReceivedPush[];
  readonly connections: () => number;
  /** Subscribes a browser; returns what to register. */
  readonly subscribe: (name: string) => Extract<NewDevice, { platform: "web" }>;
  readonly answerWith: (answer: (push: ReceivedPush, response: ServerResponse) => void) => void;
  readonly close: () => Promise<void>;
}

export async function startPushService(): Promise<TestPushService> {
  const pushes: ReceivedPush[] = [];
  const browsers = new Map<string, { readonly privateKey: Buffer; readonly auth: Buffer }>();
  let connections = 0;
  let answer = (_push: ReceivedPush, response: ServerResponse): void => void response.writeHead(201).end();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url: path = "", headers } = request;
      const browser = browsers.get(path);
      if (browser === undefined) return void response.writeHead(404).end();
      const body = Buffer.concat(chunks);
      const text = decryptPush(body, browser.privateKey, browser.auth).toString();
      const payload = JSON.parse(text) as ReceivedPush["payload"];
      const push = { path, method, headers, payload, bytes: body.length };
      pushes.push(push);
      answer(push, response);
    });
  });
  server.on("connection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    pushes,
    connections: () => connections,
    subscribe: (name) => {
      const keys = createECDH("prime256v1");
      const p256dh = keys.generateKeys().toString("base64url");
      const auth = randomBytes(16);
      browsers.set(`/push/${name}`, { privateKey: keys.getPrivateKey(), auth });
      return {
        platform: "web",
        endpoint: `${origin}/push/${name}`,
        p256dh,
        auth: auth.toString("base64url"),
      };
    },
    answerWith: (next) => void (answer = next),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
