// Tests the reader of frames against frames that are cut anywhere.
import { expect, test } from "vitest";
import { FrameReader, pongFrame, textFrame } from "./frame-reader.js";

function serverFrame(opcode: number, payload: string): Buffer {
  const body = Buffer.from(payload);
  const head = [0x80 | opcode];
  if (body.length < 126) head.push(body.length);
  else if (body.length < 65_536) head.push(126, body.length >> 8, body.length & 255);
  else {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(body.length));
    head.push(127, ...length);
  }
  return Buffer.concat([Buffer.from(head), body]);
}

const frames: [opcode: number, payload: string][] = [
  [1, "short"],
  [9, ""],
  [1, "a".repeat(125)],
  [1, "b".repeat(126)],
  [1, "c".repeat(300)],
  [10, "end"],
];
const long: [opcode: number, payload: string] = [1, "d".repeat(70_000)];

test.each([1, 2, 3, 7, 100, 65_000, 1_000_000])("reassembles frames from reads of %i bytes", (size) => {
  const sent = size < 100 ? frames : [...frames, long, ...frames];
  const bytes = Buffer.concat(sent.map(([opcode, payload]) => serverFrame(opcode, payload)));
  const seen: [number, string][] = [];
  const reader = new FrameReader((opcode, buffer, start, end) => {
    seen.push([opcode, buffer.toString("latin1", start, end)]);
  });
  // The same buffer is read into again and again.
  const shared = Buffer.alloc(size);
  for (let at = 0; at < bytes.length; at += size) {
    const length = bytes.copy(shared, 0, at, Math.min(bytes.length, at + size));
    reader.read(shared, 0, length);
    shared.fill(0);
  }
  expect(seen).toEqual(sent);
});

test("masks a client's frames without changing their payload", () => {
  expect([...textFrame("ab")]).toEqual([0x81, 0x82, 0, 0, 0, 0, 97, 98]);
  expect([...pongFrame(Buffer.from("x"))]).toEqual([0x8a, 0x81, 0, 0, 0, 0, 120]);
  const long = textFrame("y".repeat(300));
  expect([...long.subarray(0, 4)]).toEqual([0x81, 0xfe, 1, 44]);
  expect(long).toHaveLength(308);
});
