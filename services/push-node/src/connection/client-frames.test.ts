// Tests the parser of client frames against the receiver of `ws`: both report the same for the same bytes, however they
// are cut.
import type { Writable } from "node:stream";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import * as ws from "ws";
import { maskedFrame } from "../testing/raw-client.js";
import { ClientFrames } from "./client-frames.js";

const BOUNDS = { maxBytes: 300, maxFragments: 3 };
const MAX_PIECES = 1_024;
/** Of RFC 6455 section 7.4.1, for the errors of `ws`; its 1008 is the contract's 1009. */
const CODES: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1009,
};
const { Receiver } = ws as unknown as { readonly Receiver: new (options: object) => Writable };

type Heard = readonly [what: string, ...details: (string | number | boolean)[]];
const untilSaid = () => new Promise((resolve) => setImmediate(resolve));

async function heardByOurs(chunks: readonly Buffer[]): Promise<Heard[]> {
  const heard: Heard[] = [];
  const frames = new ClientFrames(BOUNDS, {
    onMessage: (data, isBinary) => heard.push(["message", data.toString("hex"), isBinary]),
    onPing: (data) => heard.push(["ping", data.toString("hex")]),
    onPong: () => heard.push(["pong"]),
    onEnd: (code, reason) => heard.push(["end", code, reason.toString("hex")]),
    onWrong: (code, { message }) => heard.push(["wrong", code, message]),
  });
  for (const chunk of chunks) frames.read(Buffer.from(chunk));
  await untilSaid();
  return heard;
}

async function heardByTheirs(chunks: readonly Buffer[]): Promise<Heard[]> {
  const heard: Heard[] = [];
  const receiver = new Receiver({
    isServer: true,
    maxPayload: BOUNDS.maxBytes,
    maxFragments: BOUNDS.maxFragments,
    maxBufferedChunks: MAX_PIECES,
  })
    .on("message", (data: Buffer, isBinary: boolean) =>
      heard.push(["message", data.toString("hex"), isBinary]),
    )
    .on("ping", (data: Buffer) => heard.push(["ping", data.toString("hex")]))
    .on("pong", () => heard.push(["pong"]))
    .on("conclude", (code: number, reason: Buffer) => heard.push(["end", code, reason.toString("hex")]))
    .on("error", ({ code, message }: Error & { readonly code: string }) =>
      heard.push(["wrong", CODES[code] ?? 1002, message]),
    );
  for (const chunk of chunks)
    if (!receiver.destroyed && !receiver.writableEnded) receiver.write(Buffer.from(chunk));
  await untilSaid();
  return heard;
}

const payload = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }).map((text) => Buffer.from(text)) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(124, 125, 126, 127, 300, 301).map((size) => Buffer.alloc(size, "x")),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)) },
);
const closePayload = fc
  .tuple(
    fc.constantFrom(999, 1000, 1001, 1004, 1005, 1006, 1008, 1014, 1015, 2999, 3000, 4999, 5000),
    payload,
  )
  .map(([code, reason]) => Buffer.concat([Buffer.from([code >> 8, code & 255]), reason.subarray(0, 30)]));
const frame = fc.oneof(
  { weight: 8, arbitrary: payload.map((bytes) => maskedFrame(1, bytes, true)) },
  { weight: 2, arbitrary: payload.map((bytes) => maskedFrame(9, bytes.subarray(0, 125), true)) },
  { weight: 2, arbitrary: payload.map((bytes) => maskedFrame(10, bytes.subarray(0, 125), true)) },
  { weight: 1, arbitrary: closePayload.map((bytes) => maskedFrame(8, bytes, true)) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1).map((size) => maskedFrame(8, Buffer.alloc(size), true)) },
  { weight: 1, arbitrary: payload.map((bytes) => maskedFrame(2, bytes, true)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(15), payload, fc.boolean())
      .map(([opcode, bytes, isLast]) => maskedFrame(opcode, bytes, isLast)),
  },
  // Reserved bits, no mask, a length in more bytes than it needs, or just bytes.
  {
    weight: 1,
    arbitrary: fc.tuple(payload, fc.constantFrom(0x40, 0x20, 0x10)).map(([bytes, bit]) => {
      const one = maskedFrame(1, bytes, true);
      one[0] = (one[0] ?? 0) | bit;
      return one;
    }),
  },
  { weight: 1, arbitrary: fc.constant(Buffer.from([0x81, 2, 97, 98])) },
  { weight: 1, arbitrary: fc.constant(Buffer.from([0x81, 0xfe, 0, 2, 0, 0, 0, 0, 97, 98])) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
);

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

test("for any bytes, cut anywhere, it reports what ws's receiver reports", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      async (frames, places) => {
        const chunks = cut(Buffer.concat(frames), places).filter(({ length }) => length > 0);
        expect(await heardByOurs(chunks)).toEqual(await heardByTheirs(chunks));
      },
    ),
    { numRuns: 400 },
  );
});

test("reads an unfragmented text without a receiver; a fragmented one, and everything after it, with one", async () => {
  const text = maskedFrame(1, Buffer.from("hello"), true);
  const whole = await heardByOurs([text, text]);
  expect(whole).toEqual([
    ["message", Buffer.from("hello").toString("hex"), false],
    ["message", Buffer.from("hello").toString("hex"), false],
  ]);
  expect(await heardByOurs([text.subarray(0, 7), Buffer.concat([text.subarray(7), text])])).toEqual(whole);
});

test("reports nothing after the client's close, or after an error", async () => {
  const text = maskedFrame(1, Buffer.from("hello"), true);
  const close = maskedFrame(8, Buffer.from([0x0f, 0xa0]), true);
  expect(await heardByOurs([Buffer.concat([close, text]), text])).toEqual([["end", 4000, ""]]);
  const [wrong, ...more] = await heardByOurs([maskedFrame(1, Buffer.from([0xff]), true), text]);
  expect([wrong?.slice(0, 2), more]).toEqual([["wrong", 1007], []]);
});
