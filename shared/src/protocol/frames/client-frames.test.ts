// Tests what a push node accepts from its clients.
// Guarantees: no text makes the parser throw; the fast path for acks reads what the full parser reads.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { anyText } from "../../testing/any-text.js";
import { parseClientFrame } from "./client-frames.js";

test.each([
  [`{"type":"ack","seq":7}`, { type: "ack", seq: 7 }],
  [`{ "seq": 7, "type": "ack" }`, { type: "ack", seq: 7 }],
  [`{"type":"ack","seq":0}`, { type: "ack", seq: 0 }],
  [`{"type":"ping"}`, { type: "ping" }],
  [`{"type":"ping","at":1}`, { type: "ping" }],
  [`{"type":"auth","token":"t","more":{}}`, { type: "auth", token: "t" }],
  [`{"type":"token","token":"t"}`, { type: "token", token: "t" }],
  [
    `{"type":"subscribe","topic":"news","epoch":"e","offset":3,"presence":true,"more":1}`,
    { type: "subscribe", topics: [{ topic: "news", epoch: "e", offset: 3, presence: true }] },
  ],
  [`{"type":"subscribe","topic":""}`, { type: "subscribe", topics: [{ topic: "" }] }],
  [
    `{"type":"subscribe","topic":"a b","offset":-0.5}`,
    { type: "subscribe", topics: [{ topic: "a b", offset: -0.5 }] },
  ],
  [
    `{"type":"subscribe","topics":[{"topic":"a"},{"topic":"b","presence":false}]}`,
    { type: "subscribe", topics: [{ topic: "a" }, { topic: "b", presence: false }] },
  ],
  [`{"type":"subscribe","topics":[]}`, { type: "subscribe", topics: [] }],
  [`{"type":"unsubscribe","topic":"news","epoch":7}`, { type: "unsubscribe", topics: [{ topic: "news" }] }],
  [
    `{"type":"unsubscribe","topics":[{"topic":"a"},{"topic":"b"}]}`,
    { type: "unsubscribe", topics: [{ topic: "a" }, { topic: "b" }] },
  ],
  [
    `{"type":"publish","ref":"1","topic":"t","data":null}`,
    { type: "publish", ref: "1", topic: "t", data: null },
  ],
  [
    `{"type":"publish","ref":"","topic":"","data":{"a":[1]},"idempotencyKey":"k"}`,
    { type: "publish", ref: "", topic: "", data: { a: [1] }, idempotencyKey: "k" },
  ],
])("accepts %s, ignoring unknown fields", (text, frame) => {
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
  `{"type":"subscribe","topic":7}`,
  `{"type":"subscribe","topic":"t","epoch":7}`,
  `{"type":"subscribe","topic":"t","epoch":null}`,
  `{"type":"subscribe","topic":"t","offset":"3"}`,
  `{"type":"subscribe","topic":"t","presence":1}`,
  `{"type":"subscribe","topics":{"topic":"t"}}`,
  `{"type":"subscribe","topics":["t"]}`,
  `{"type":"subscribe","topics":[{"topic":"t"},{}]}`,
  `{"type":"unsubscribe"}`,
  `{"type":"unsubscribe","topics":[null]}`,
  `{"type":"publish","topic":"t","data":1}`,
  `{"type":"publish","ref":1,"topic":"t","data":1}`,
  `{"type":"publish","ref":"1","data":1}`,
  `{"type":"publish","ref":"1","topic":"t"}`,
  `{"type":"publish","ref":"1","topic":"t","data":1,"idempotencyKey":1}`,
  `{"type":"hello"}`,
  `{"type":"toString"}`,
  `{"type":7}`,
  `{"type":"ack","seq":7}x`,
])("refuses %s and says what is wrong", (text) => {
  const parsed = parseClientFrame(text);
  expect(parsed.ok).toBe(false);
  expect(!parsed.ok && parsed.problem).toMatch(/\.$/);
});

test("no text makes it throw", () => {
  fc.assert(
    fc.property(fc.oneof(anyText(), fc.json()), (text) => {
      parseClientFrame(text);
    }),
  );
});

test("an ack reads the same on the fast path and on the general one", () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (seq) => {
      const short = parseClientFrame(`{"type":"ack","seq":${seq}}`);
      expect(short).toEqual(parseClientFrame(`{"type": "ack","seq":${seq}}`));
      expect(short).toEqual({ ok: true, frame: { type: "ack", seq } });
    }),
  );
});
