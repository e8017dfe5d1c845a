// A welcomed client's frames: good ones, bad ones, and those that ws refuses by itself.
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { WsClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, range, seqsOf, type NodeBench } from "../testing/node-bench.js";
import { openRaw, type RawClient } from "../testing/raw-client.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
let users = 0;

beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode({ maxFrameBytes: 2_048, maxFragments: 4 });
});
afterAll(() => bench.close());

const newUser = (): string => `u${++users}`;

async function rawJoin(userId: string): Promise<RawClient> {
  const raw = await openRaw({ port: node.port, headers: { authorization: `Bearer user.${userId}` } });
  await waitFor(() => raw.frames().length > 1, { what: "the welcome" });
  return raw;
}

async function lastError(client: WsClient): Promise<unknown> {
  await client.untilClosed();
  return client.frames.at(-1);
}

describe("bad frames close with 4400 and say why", () => {
  test.each([
    ["not JSON", "hello"],
    ["an array", "[]"],
    ["null", "null"],
    ["a number", "1"],
    ["an unknown type", `{"type":"dance"}`],
    ["no type", `{"seq":1}`],
    ["an ack without seq", `{"type":"ack"}`],
    ["an ack with a string", `{"type":"ack","seq":"1"}`],
    ["an ack below zero", `{"type":"ack","seq":-1}`],
    ["an ack with a fraction", `{"type":"ack","seq":0.5}`],
    ["a second auth", `{"type":"auth","token":"user.x"}`],
    ["a token frame without a token", `{"type":"token"}`],
    ["a subscribe without a topic", `{"type":"subscribe"}`],
  ])("%s", async (_name, text) => {
    const client = await join(node, newUser());
    client.sendText(text);
    expect(await lastError(client)).toMatchObject({
      type: "error",
      code: "PETREL_BAD_FRAME",
      action: "stop",
    });
    expect(client.closed()).toMatchObject({ code: 4400 });
  });

  test("an ack beyond what was sent; it acknowledges nothing", async () => {
    const userId = newUser();
    const client = await join(node, userId);
    await bench.accept(userId, "one");
    await client.untilMessages(1);
    client.ack(2);
    expect(await lastError(client)).toMatchObject({ code: "PETREL_ACK_BEYOND_SENT", action: "stop" });
    expect(client.closed()).toMatchObject({ code: 4400 });
    expect(await bench.user(userId)).toMatchObject({ seq: "1", acked: "0" });
  });

  test("a binary frame: 1003", async () => {
    const client = await join(node, newUser());
    client.socket.send(Buffer.from(`{"type":"ping"}`));
    expect(await lastError(client)).toMatchObject({ code: "PETREL_BINARY_FRAME", action: "stop" });
    expect(client.closed()).toMatchObject({ code: 1003 });
  });
});

describe("valid frames", () => {
  test("answers a ping and ignores unknown fields", async () => {
    const client = await join(node, newUser());
    client.send({ type: "ping", more: { than: "asked" } });
    await client.frame("pong");
    expect(client.closed()).toBeUndefined();
    client.close();
  });

  test("does not send a long topic back in full", async () => {
    const client = await join(node, newUser());
    client.send({ type: "subscribe", topic: "t".repeat(1_000) });
    expect(await client.frame("error")).toMatchObject({ ref: "t".repeat(128) });
    client.close();
  });
});

describe("a fresh token", () => {
  test("for the same user: accepted, and its lifetime counts from then", async () => {
    const client = await join(node, newUser(), { token: `until.${Date.now() + 60_000}.fresh` });
    client.send({ type: "token", token: "user.fresh" });
    const { expiresIn } = await client.frame("token_accepted");
    expect(expiresIn).toBeGreaterThan(3_500);
    expect(expiresIn).toBeLessThanOrEqual(3_600);
    client.close();
  });

  test("for another user: 4403", async () => {
    const client = await join(node, newUser());
    client.send({ type: "token", token: "user.somebody-else" });
    expect(await lastError(client)).toMatchObject({ code: "PETREL_USER_CHANGED", action: "stop" });
    expect(client.closed()).toMatchObject({ code: 4403 });
  });

  test("a bad one: 4401", async () => {
    const client = await join(node, newUser());
    client.send({ type: "token", token: "nonsense" });
    expect(await lastError(client)).toMatchObject({ code: "PETREL_TOKEN_INVALID", action: "refresh" });
    expect(client.closed()).toMatchObject({ code: 4401 });
  });

  test("one that cannot be checked now does not end a good connection", async () => {
    const client = await join(node, newUser());
    client.send({ type: "token", token: "down" });
    expect(await client.frame("error")).toMatchObject({ code: "PETREL_UNAVAILABLE", ref: "token" });
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(client.closed()).toBeUndefined();
    client.close();
  });
});

describe("what ws refuses", () => {
  test("a frame that is too large: 1009", async () => {
    const raw = await rawJoin(newUser());
    raw.send(1, Buffer.from(JSON.stringify({ type: "ping", padding: "x".repeat(2_100) })));
    expect(await raw.closeCode()).toBe(1009);
    raw.socket.destroy();
  });

  test("one that is too large in sum: 1009", async () => {
    const raw = await rawJoin(newUser());
    raw.send(1, Buffer.alloc(1_500, "x"), false);
    raw.send(0, Buffer.alloc(1_500, "x"), true);
    expect(await raw.closeCode()).toBe(1009);
    raw.socket.destroy();
  });

  test("fragments up to the bound are one frame; one more is refused", async () => {
    const raw = await rawJoin(newUser());
    const pieces = [`{"ty`, `pe":`, `"pi`, `ng"}`];
    pieces.forEach((piece, i) => raw.send(i === 0 ? 1 : 0, Buffer.from(piece), i === pieces.length - 1));
    await waitFor(() => raw.frames().length >= 3, { what: "the pong" });
    expect(raw.frames()[2]?.payload.toString()).toBe(`{"type":"pong"}`);
    raw.send(1, Buffer.from("{"), false);
    for (let i = 0; i < 4; i++) raw.send(0, Buffer.from(" "), false);
    // 1008 in ws' own words; what matters is that it ends.
    expect(await raw.closeCode()).toBeGreaterThanOrEqual(1002);
    raw.socket.destroy();
  });

  test("text that is not UTF-8: 1007", async () => {
    const raw = await rawJoin(newUser());
    raw.send(1, Buffer.from([0x22, 0xc3, 0x28, 0x22]));
    expect(await raw.closeCode()).toBe(1007);
    raw.socket.destroy();
  });

  test("an unmasked frame: 1002", async () => {
    const raw = await rawJoin(newUser());
    raw.socket.write(Buffer.from([0x81, 0x02, 0x7b, 0x7d]));
    expect(await raw.closeCode()).toBe(1002);
    raw.socket.destroy();
  });
});

test("closes a client that keeps asking and reads nothing before it fills the memory", async () => {
  const narrow = await bench.startNode({ outboundBoundBytes: 16 * 1024 });
  const raw = await openRaw({ port: narrow.port, headers: { authorization: "Bearer user.asker" } });
  await waitFor(() => narrow.registry.size === 1, { what: "the registration" });
  raw.socket.pause();
  const [connection] = narrow.registry.ofUser("asker");
  if (connection === undefined) throw new Error("not registered");
  const question = { type: "subscribe", topic: "t".repeat(128) };
  let mostWaiting = 0;
  for (let i = 0; i < 400 && connection.isOpen; i++) {
    for (let j = 0; j < 200; j++) raw.text(question);
    await waitFor(() => raw.socket.writableLength < 100_000 || !connection.isOpen, { what: "room" });
    mostWaiting = Math.max(mostWaiting, connection.waitingBytes);
  }
  expect(connection.isOpen).toBe(false);
  expect(mostWaiting).toBeLessThan(1_400_000);
  raw.socket.destroy();
});

test("frames of one turn, acks among them, keep their order", async () => {
  const userId = newUser();
  const client = await join(node, userId);
  await bench.acceptMany(userId, 20);
  await client.untilMessages(20);
  expect(seqsOf(client)).toEqual(range(1, 20));
  for (const seq of [5, 20, 10]) client.ack(seq);
  client.send({ type: "ping" });
  await client.frame("pong");
  await waitFor(async () => (await bench.user(userId))["acked"] === "20", { what: "the ack" });
  client.close();
});
