// Tests how frames are read.
// Guarantees: reads everything that the push node's encoder writes; refuses what breaks the contract.
import { encodeMessageFrame, encodeServerFrame } from "@petrel/shared/protocol/frames/server-frames";
import { parseClientFrame } from "@petrel/shared/protocol/frames/client-frames";
import { describe, expect, it } from "vitest";
import { parseServerFrame, type ClientFrame } from "./frames.js";

describe("frames", () => {
  it("reads what the push node writes", () => {
    const welcome = {
      type: "welcome",
      connection: "c",
      node: "n",
      user: "u",
      epoch: "e",
      seq: 9,
      after: 4,
      resumed: true,
      pingSeconds: 20,
      ackWithinMs: 250,
      features: ["ack"],
    } as const;
    expect(parseServerFrame(encodeServerFrame(welcome))).toEqual(welcome);
    expect(parseServerFrame(encodeMessageFrame("m1", 5, "2030-01-01T00:00:00Z", '{"a":[1]}'))).toEqual({
      type: "message",
      id: "m1",
      seq: 5,
      at: "2030-01-01T00:00:00Z",
      data: { a: [1] },
    });
    for (const frame of [
      { type: "error", code: "PETREL_BAD_FRAME", message: "no", action: "stop", ref: "ack" },
      { type: "reconnect", afterMs: 300, reason: "drain", local: false },
      { type: "token_expiring", inSeconds: 30 },
    ] as const) {
      expect(parseServerFrame(encodeServerFrame(frame))).toEqual(frame);
    }
  });

  it("writes what the push node reads", () => {
    const frames: ClientFrame[] = [
      { type: "auth", token: "t" },
      { type: "token", token: "t" },
      { type: "ack", seq: 7 },
      { type: "ping" },
    ];
    for (const frame of frames) {
      expect(parseClientFrame(JSON.stringify(frame))).toEqual({ ok: true, frame });
    }
  });

  it("reads the frames of topics", () => {
    for (const frame of [
      { type: "subscribed", topic: "t", epoch: "e", offset: 4, oldest: 1, recovered: true },
      { type: "unsubscribed", topic: "t" },
      { type: "unsubscribed", topic: "t", reason: "removed" },
      { type: "published", ref: "p1", id: "m", topic: "t", epoch: "e", offset: 4, duplicate: false },
      { type: "presence", topic: "t", users: 2, connections: 3 },
      { type: "presence", topic: "t", users: 2, connections: 3, here: ["ann", "bob"] },
      { type: "error", code: "PETREL_FORBIDDEN", message: "no", action: "stop", ref: "t", on: "subscribe" },
    ]) {
      expect(parseServerFrame(JSON.stringify({ ...frame, later: 1 }))).toEqual(frame);
    }
    const message = { topic: "t", id: "m", offset: 5, at: "2030-01-01T00:00:00Z", data: { a: [1] } };
    expect(parseServerFrame(JSON.stringify({ type: "message", ...message, from: "ann" }))).toEqual({
      type: "topic_message",
      ...message,
      from: "ann",
    });
    expect(parseServerFrame(JSON.stringify({ type: "message", ...message }))).not.toHaveProperty("from");
  });

  it("ignores unknown types and unknown fields", () => {
    expect(parseServerFrame('{"type":"later","x":1}')).toEqual({ type: "other" });
    expect(parseServerFrame('{"type":"pong"}')).toEqual({ type: "other" });
    expect(parseServerFrame('{"type":"reconnect","afterMs":5,"reason":"r","new":true}')).toEqual({
      type: "reconnect",
      afterMs: 5,
      reason: "r",
      local: false,
    });
  });

  it.each([
    ["not JSON", "hello"],
    ["an array", "[]"],
    ["no type", "{}"],
    ["a welcome without an epoch", '{"type":"welcome","seq":1,"after":1}'],
    ["a message without an id", '{"type":"message","seq":1}'],
    ["a message whose seq is not a number", '{"type":"message","id":"m","seq":"1"}'],
    ["a topic's message without an offset", '{"type":"message","topic":"t","id":"m"}'],
    ["a subscription without an epoch", '{"type":"subscribed","topic":"t","offset":1,"oldest":1}'],
    ["a negative seq", '{"type":"message","id":"m","seq":-1}'],
  ])("refuses %s", (_what, text) => {
    expect(() => parseServerFrame(text)).toThrow();
  });

  it("refuses a binary frame", () => {
    expect(() => parseServerFrame(new ArrayBuffer(2))).toThrow("binary");
  });
});
