// Tests the server's end of a WebSocket where it closes.
// Guarantees: fails where a release of `ws` names its own parts otherwise, and so ends its socket or its receiver twice again.
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Writable } from "node:stream";
import { expect, test } from "vitest";
import { WebSocket, WebSocketServer, type ServerOptions } from "ws";
import { ConnectionWebSocket } from "./connection-web-socket.js";

test("a client that closes: its code is heard, its close answered, and neither socket nor receiver is ended twice", async () => {
  const server = createServer();
  const sockets = new WebSocketServer({
    noServer: true,
    WebSocket: ConnectionWebSocket as unknown as NonNullable<ServerOptions["WebSocket"]>,
  });
  const ended: string[][] = [];
  let receiver: Writable | undefined;
  const errors: Error[] = [];
  const closed = new Promise<number>((resolve) => {
    server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) =>
      sockets.handleUpgrade(request, socket, head, (ws) => {
        receiver = (ws as unknown as { readonly _receiver: Writable })._receiver;
        socket.prependListener("end", () => ended.push(socket.listeners("end").map(({ name }) => name)));
        (ws as ConnectionWebSocket).listen({
          onMessage: () => undefined,
          onControlFrame: () => undefined,
          onError: () => undefined,
          onClose: resolve,
        });
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await once(client, "open");
  client.close(4000);
  const [code] = (await once(client, "close")) as [number];
  expect(code).toBe(4000);
  expect(await closed).toBe(4000);
  expect(ended).toHaveLength(1);
  expect(ended[0]).not.toContain("socketOnEnd");
  // What it would make an error of, and tell whoever asks.
  receiver?.end((error?: Error | null) => error != null && errors.push(error));
  await new Promise((resolve) => setImmediate(resolve));
  expect([receiver?.writableFinished, errors]).toEqual([true, []]);
  await new Promise((resolve) => server.close(resolve));
});
