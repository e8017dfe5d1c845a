// Tests what a push node accepts from its clients.
// Guarantees: no text makes the parser throw; the fast path for acks reads what the full parser reads.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseClientFrame } from "./client-frames.js";

test.each([
  [`{"type":"ack","seq":7}`, { type: "ack", seq: 7 }],
  [`{ "seq": 7, "type": "ack" }`, { type: "ack", seq: 7 }],
  [`{"type":"ack","seq":0}`, { type: "ack", seq: 0 }],
  [`{"type":"ping"}`, { type: "ping" }],
  [`{"type":"ping","at":1}`, { type: "ping" }],
  [`{"type":"auth","token":"t","more":{}}`, { type: "auth", token: "t" }],
  [`{"type":"token","token":"t"}`, { type: "token", token: "t" }],
  [`{"type":"subscribe","topic":"news","epoch":"e","offset":3}`, { type: "subscribe", topic: "news" }],
  [`{"type":"unsubscribe","topic":"news"}`, { type: "unsubscribe", topic: "news" }],
])("%s is taken, unknown fields ignored", (text, frame) => {
  expect(parseClientFrame(text)).toEqual({ ok: true, frame });
});

test.each([
  "",
  "hello",
  "null",
  "7",
  `"ack"`,
  "[]",
  "{}",
  `{"type":"ack"}`,
  `{"type":"ack","seq":"7"}`,
  `{"type":"ack","seq":-1}`,
  `{"type":"ack","seq":1.5}`,
  `{"type":"ack","seq":9007199254740993}`,
  `{"type":"ack","seq":1e400}`,
  `{"type":"auth"}`,
  `{"type":"auth","token":""}`,
  `{"type":"token","token":7}`,
  `{"type":"subscribe"}`,
  `{"type":"unsubscribe","topic":""}`,
  `{"type":"hello"}`,
  `{"type":"toString"}`,
  `{"type":7}`,
  `{"type":"ack","seq":7}x`,
])("%s is refused, with what is wrong", (text) => {
  const parsed = parseClientFrame(text);
  expect(parsed.ok).toBe(false);
  expect(!parsed.ok && parsed.problem).toMatch(/\.$/);
});

test("no text makes it throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json()), (text) => {
      parseClientFrame(text);
    }),
  );
});

test("an ack reads the same by the short cut and by the long way", () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (seq) => {
      const short = parseClientFrame(`{"type":"ack","seq":${seq}}`);
      expect(short).toEqual(parseClientFrame(`{"type": "ack","seq":${seq}}`));
      expect(short).toEqual({ ok: true, frame: { type: "ack", seq } });
    }),
  );
});
