// Tests the frames that clients read.
// Guarantees: a message's frame, assembled as text, is the contract's JSON for any data.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeMessageFrame, encodeServerFrame, encodeTopicMessageFrame } from "./server-frames.js";

test("a message's frame is JSON with the contract's fields, whatever its data", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(), (data, seq) => {
      const at = "2026-01-02T03:04:05.678Z";
      const text = encodeMessageFrame("p0_AZaz09_-", seq, at, JSON.stringify(data));
      expect(JSON.stringify(JSON.parse(text))).toBe(
        JSON.stringify({
          type: "message",
          id: "p0_AZaz09_-",
          seq,
          at,
          data: JSON.parse(JSON.stringify(data)),
        }),
      );
    }),
  );
});

test("does not change the data's text", () => {
  expect(encodeMessageFrame("m", 1, "t", `{"n":12345678901234567890}`)).toContain(
    `"data":{"n":12345678901234567890}`,
  );
});

test("other frames are JSON objects with a type", () => {
  expect(JSON.parse(encodeServerFrame({ type: "reconnect", afterMs: 5, reason: "drain" }))).toEqual({
    type: "reconnect",
    afterMs: 5,
    reason: "drain",
  });
});

test("a topic's message has its position, and its sender if that was a client", () => {
  const at = "2026-01-02T03:04:05.678Z";
  const data = { a: ["\t", 1] };
  const frame = { type: "message", id: "p0_x", topic: "room.1", offset: 7, at };
  const text = encodeTopicMessageFrame("p0_x", "room.1", 7, at, "", JSON.stringify(data));
  expect(JSON.parse(text)).toEqual({ ...frame, data });
  const fromClient = encodeTopicMessageFrame("p0_x", "room.1", 7, at, "al|ice=", "null");
  expect(JSON.parse(fromClient)).toEqual({ ...frame, from: "al|ice=", data: null });
});
