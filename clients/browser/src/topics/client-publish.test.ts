// Tests of publishing from a client, over real sockets to a scripted push node.
// Guarantees: a message is published once, whatever becomes of the connections, or its promise says why not; nothing that
// an application passes ends the connection.
import { isNestedDeeperThan } from "@petrel/shared/kernel/http/bodies/measure-nesting";
import { WsPeer, type PeerFrame, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { clientErrorCodes, PetrelClient, type PetrelClientOptions } from "../client.js";

let peer: WsPeer;
let client: PetrelClient;

beforeEach(async () => {
  peer = await WsPeer.start();
});

afterEach(async () => {
  await client.close();
  await peer.close();
});

const features = ["ack", "resume", "topics", "publish"];

async function open(timing: PetrelClientOptions["timing"] = {}): Promise<PeerSocket> {
  client = new PetrelClient({
    url: peer.url,
    getToken: () => "token",
    WebSocket,
    timing: { backoffBaseMs: 20, backoffCapMs: 100, ...timing },
  });
  client.connect();
  return again();
}

async function again(): Promise<PeerSocket> {
  const socket = await peer.accept();
  socket.welcome({ features });
  return socket;
}

function answer(socket: PeerSocket, { ref, topic }: PeerFrame, offset: number, duplicate = false): void {
  socket.send({ type: "published", ref, id: `m${offset}`, topic, epoch: "t1", offset, duplicate });
}

describe("publish", () => {
  it("resolves with the message's position, from the client and from a handle", async () => {
    const socket = await open();
    const handle = client.subscribe("room.1", {});
    // The handle's waits until it is subscribed, so that it comes back to it.
    const hi = handle.publish("hi", { idempotencyKey: "k1" });
    const both = [client.publish("room.2", { a: 1 }), hi];
    const frames = [await socket.next("publish")];
    expect(socket.frames.map(({ type }) => type)).toContain("subscribe");
    socket.send({ type: "subscribed", topic: "room.1", epoch: "t1", offset: 0, oldest: 1, recovered: false });
    frames.push(await socket.next("publish"));
    expect(frames).toMatchObject([
      { topic: "room.2", data: { a: 1 }, idempotencyKey: expect.stringMatching(/^[0-9a-f]{32}$/) as string },
      { topic: "room.1", data: "hi", idempotencyKey: "k1" },
    ]);
    expect(frames[0]?.["ref"]).not.toBe(frames[1]?.["ref"]);
    answer(socket, frames[1] ?? {}, 8, true);
    answer(socket, frames[0] ?? {}, 3);
    expect(await Promise.all(both)).toEqual([
      { id: "m3", epoch: "t1", offset: 3, duplicate: false },
      { id: "m8", epoch: "t1", offset: 8, duplicate: true },
    ]);
  });

  it("is sent again after a reconnect, with the same key and in the order of the calls", async () => {
    const first = await open();
    const published = [1, 2, 3].map((data) => client.publish("room.1", data));
    const sent = [await first.next("publish"), await first.next("publish"), await first.next("publish")];
    answer(first, sent[1] ?? {}, 2);
    await published[1];
    first.cut();
    const second = await again();
    const repeated = [await second.next("publish"), await second.next("publish")];
    expect(repeated).toEqual([sent[0], sent[2]]);
    answer(second, repeated[0] ?? {}, 1, true);
    answer(second, repeated[1] ?? {}, 3);
    expect(await Promise.all(published)).toMatchObject([
      { offset: 1, duplicate: true },
      { offset: 2 },
      { offset: 3, duplicate: false },
    ]);
  });

  it("waits for the connection", async () => {
    const first = await open();
    const offline = new Promise((resolve) => client.once("offline", resolve));
    await client.whenOnline();
    first.cut();
    await offline;
    const published = client.publish("room.1", 1);
    const second = await again();
    answer(second, await second.next("publish"), 1);
    expect(await published).toMatchObject({ offset: 1 });
  });

  it.each([
    ["PETREL_FORBIDDEN", "stop", false],
    ["PETREL_RATE_LIMITED", "backoff", true],
  ])("that is refused with %s is rejected with it", async (code, action, retryable) => {
    const socket = await open();
    const published = client.publish("room.1", 1, { idempotencyKey: "k1" });
    const { ref } = await socket.next("publish");
    socket.send({ type: "error", code, message: "no", action, ref, on: "publish" });
    await expect(published).rejects.toMatchObject({ code, retryable, topic: "room.1", idempotencyKey: "k1" });
    expect(client.state).toBe("online");
  });

  it("without an answer in time is rejected, with the key that makes a repeat safe", async () => {
    const socket = await open({ publishTimeoutMs: 500 });
    const failed: unknown = await client.publish("room.1", 1).catch((error: unknown) => error);
    const { ref, idempotencyKey } = await socket.next("publish");
    expect(failed).toMatchObject({ code: clientErrorCodes.publishTimeout, retryable: true, idempotencyKey });
    // An answer that comes late is no error.
    answer(socket, { ref, topic: "room.1" }, 1);
    const next = client.publish("room.1", 2, { idempotencyKey: "k2" });
    answer(socket, await socket.next("publish"), 2);
    expect(await next).toMatchObject({ offset: 2 });
  });

  it("is rejected when the client is closed, before and after", async () => {
    const socket = await open();
    const published = client.publish("room.1", 1, { idempotencyKey: "k1" });
    await socket.next("publish");
    const rejected = expect(published).rejects.toMatchObject({
      code: clientErrorCodes.closed,
      idempotencyKey: "k1",
    });
    await client.close();
    await rejected;
    await expect(client.publish("room.1", 1)).rejects.toMatchObject({ code: clientErrorCodes.closed });
  });

  it("of data that no node accepts is rejected here: a node might close the connection for it", async () => {
    const socket = await open();
    const nested = (levels: number): unknown => JSON.parse("[".repeat(levels) + "]".repeat(levels));
    for (const data of ["x".repeat(65_535), "é".repeat(32_768)]) {
      await expect(client.publish("room.1", data)).rejects.toMatchObject({
        code: "PETREL_PAYLOAD_TOO_LARGE",
      });
    }
    await expect(client.publish("room.1", nested(16))).rejects.toMatchObject({
      code: "PETREL_INVALID_REQUEST",
    });
    await expect(client.publish("room.1", undefined)).rejects.toThrow(TypeError);
    await expect(client.publish("room.1", 1n)).rejects.toThrow(TypeError);
    await expect(client.publish("a b", 1)).rejects.toThrow(TypeError);
    await expect(client.publish("$all", 1)).rejects.toThrow(TypeError);
    await expect(client.publish("a", 1, { idempotencyKey: "" })).rejects.toThrow(TypeError);
    for (const data of ["x".repeat(65_534), nested(15)]) {
      const published = client.publish("room.1", data);
      const frame = await socket.next("publish");
      expect(isNestedDeeperThan(Buffer.from(JSON.stringify(frame)), 16)).toBe(false);
      answer(socket, frame, 1);
      await published;
    }
    expect(socket.frames).toHaveLength(2);
  });

  it("publishes the data as it was at the call", async () => {
    const socket = await open();
    await client.whenOnline();
    socket.freeze();
    const data = { n: 1 };
    const published = client.publish("room.1", data);
    data.n = 2;
    socket.cut();
    const second = await again();
    const frame = await second.next("publish");
    expect(frame["data"]).toEqual({ n: 1 });
    answer(second, frame, 1);
    await published;
  });

  it("of many at once stays below a user's limit per second", async () => {
    const socket = await open();
    const many = Array.from({ length: 100 }, (_, i) => client.publish("room.1", i));
    const arrivals: number[] = [];
    socket.onFrame = (frame) => {
      arrivals.push(performance.now());
      answer(socket, frame, arrivals.length);
    };
    for (const frame of socket.frames) answer(socket, frame, arrivals.push(performance.now()));
    await Promise.all(many);
    expect(arrivals).toHaveLength(100);
    // A wait lies between what goes at once and the rest: never shorter than a timer of that length.
    expect((arrivals[80] ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(900);
  });
});
