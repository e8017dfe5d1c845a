// Tests marks: found in whatever is around them.
import { expect, test } from "vitest";
import { findMark, MARK_LENGTH, markedMessage, numberAfter, numberOf, sentAtUsOf } from "./marked-message.js";

test("finds and reads a mark inside a frame; the message is valid JSON", () => {
  const data = markedMessage(123, 25_000_000_123.4);
  expect(JSON.parse(data)).toMatchObject({ n: "000000123", t: "000025000000123" });
  const frame = Buffer.from(`{"type":"message","offset":42,"data":${data}}`);
  const mark = findMark(frame, 0, frame.length);
  expect(numberOf(frame, mark)).toBe(123);
  expect(sentAtUsOf(frame, mark)).toBe(25_000_000_123);
  expect(findMark(frame, mark + MARK_LENGTH, frame.length)).toBe(-1);
});

test("does not read past the frame in the same buffer", () => {
  const frame = Buffer.from(`{"type":"pong"}${markedMessage(1, 2)}"offset":7`);
  expect(findMark(frame, 0, 15)).toBe(-1);
  expect(numberAfter(frame, Buffer.from('"offset":'), 0, 15)).toBe(-1);
  expect(numberAfter(frame, Buffer.from('"offset":'), 0, frame.length)).toBe(7);
});
