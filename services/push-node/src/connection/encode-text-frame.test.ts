// Our own frames, read by the receiver of `ws`.
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { assert, asyncProperty, nat, string } from "fast-check";
import { WebSocket, WebSocketServer } from "ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeTextFrame } from "./encode-text-frame.js";

describe("header", () => {
  test.each([
    [0, 2],
    [125, 2],
    [126, 4],
    [65_535, 4],
    [65_536, 10],
  ])("%i bytes of text: a header of %i", (length, header) => {
    const frame = encodeTextFrame("x".repeat(length));
    expect(frame.length).toBe(header + length);
    expect(frame[0]).toBe(0x81);
    expect((frame[1] ?? 0) & 0x80).toBe(0);
  });
});

describe("on a socket", () => {
  let server: WebSocketServer;
  let client: WebSocket;
  let write: (bytes: Buffer) => void;
  const received: string[] = [];

  beforeAll(async () => {
    server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    server.on("connection", (_ws, { socket }) => {
      write = (bytes) => void socket.write(bytes);
    });
    const { port } = server.address() as AddressInfo;
    client = new WebSocket(`ws://127.0.0.1:${port}`);
    client.on("message", (data: Buffer) => received.push(data.toString("utf8")));
    await once(client, "open");
  });
  afterAll(() => {
    client.terminate();
    server.close();
  });

  test("any text arrives unchanged", async () => {
    await assert(
      asyncProperty(string({ unit: "grapheme", maxLength: 300 }), nat(400), async (text, repeat) => {
        const whole = text.repeat(repeat);
        received.length = 0;
        write(encodeTextFrame(whole));
        while (received.length === 0) await once(client, "message");
        expect(received).toEqual([whole]);
      }),
      { numRuns: 60 },
    );
  });
});
