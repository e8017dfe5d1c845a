// Tests one subscriber against a real server of `ws`: how it gets in, what it reads, what it answers.
import { once } from "node:events";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import type { AddressInfo } from "node:net";
import { markedMessage } from "./marked-message.js";
import { openRawSubscriber, type RawSubscriber } from "./raw-subscriber.js";
import type { DialectName } from "./dialects.js";

let server: WebSocketServer;
let subscriber: RawSubscriber | undefined;
let seen: [n: number, offset: number][];
let ended: string[];

beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  seen = [];
  ended = [];
});
afterEach(async () => {
  subscriber?.close();
  await new Promise((resolve) => server.close(resolve));
});

async function open(dialect: DialectName): Promise<WebSocket> {
  const { port } = server.address() as AddressInfo;
  const connected = once(server, "connection");
  subscriber = openRawSubscriber(
    { port, path: "/", headers: {}, dialect, topics: ["room"] },
    Buffer.alloc(1024),
    { onMessage: (n, _at, offset) => seen.push([n, offset]), onEnded: (why) => ended.push(why) },
  );
  const [socket] = (await connected) as [WebSocket];
  return socket;
}

test("reads several messages and a ping in one chunk and answers the ping", async () => {
  const socket = await open("centrifugo");
  expect(String((await once(socket, "message"))[0])).toBe('{"id":1,"connect":{}}');
  socket.send('{"id":1,"connect":{}}');
  expect(String((await once(socket, "message"))[0])).toContain('"subscribe":{"channel":"room"}');
  socket.send('{"id":2,"subscribe":{}}');
  await subscriber?.subscribed;
  const push = (n: number): string =>
    `{"push":{"channel":"room","pub":{"data":${markedMessage(n, 1)},"offset":${n + 100}}}}`;
  socket.send(`${push(1)}\n{}\n${push(2)}`);
  expect(String((await once(socket, "message"))[0])).toBe("{}");
  expect(seen).toEqual([
    [1, 101],
    [2, 102],
  ]);
});

test("answers protocol pings and reports a connection that ends", async () => {
  const socket = await open("plain");
  socket.send("subscribed");
  await subscriber?.subscribed;
  socket.ping("p");
  expect(String((await once(socket, "pong"))[0])).toBe("p");
  const { length } = ended;
  socket.terminate();
  await expect.poll(() => ended.length).toBeGreaterThan(length);
});

test("reports a refusal as an error", async () => {
  const socket = await open("socket.io");
  socket.send('44{"message":"no"}');
  await expect(subscriber?.subscribed).rejects.toThrow("refused");
});
