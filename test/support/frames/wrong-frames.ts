// Tests only: frames that a node must refuse, and odd ones that it must accept, with the outcome of each.
// Guarantees: every close code and error code is the contract's.
import { setTimeout as sleep } from "node:timers/promises";
import type { RawClient } from "../../../services/push-node/src/testing/raw-client.js";
import {
  BINARY,
  CLOSE,
  closing,
  frame,
  hex,
  json,
  more,
  PING,
  PONG,
  repeated,
  start,
  TEXT,
  text,
} from "./raw-frames.js";

/**
 * A close code, alone or after an error frame's code; a reply and no close; or the end of the socket without either.
 */
export type Outcome = number | readonly [number, string] | { readonly reply: string } | "cut";
export type Send = Buffer | ((client: RawClient) => Promise<void> | void);

const BAD = [4400, "PETREL_BAD_FRAME"] as const;
const EARLY = [4401, "PETREL_UNAUTHENTICATED"] as const;
const PONGED = { reply: "pong" } as const;
/** An error that closes nothing. */
const REFUSED = { reply: "error" } as const;

/** Name, what is sent, and the outcome: after authentication, and before it if that differs. */
export type Case = readonly [name: string, send: Send, after: Outcome, before?: Outcome];

const framing: readonly Case[] = [
  ["an unmasked frame", frame({ opcode: TEXT, payload: "{}", masked: false }), 1002],
  ["RSV1, though nothing is compressed", frame({ opcode: TEXT, payload: "{}", rsv: 4 }), 1002],
  ["RSV2", frame({ opcode: TEXT, payload: "{}", rsv: 2 }), 1002],
  ["RSV3", frame({ opcode: TEXT, payload: "{}", rsv: 1 }), 1002],
  ["RSV1 on a control frame", frame({ opcode: PING, rsv: 4 }), 1002],
  ["the reserved opcode 3", frame({ opcode: 3 }), 1002],
  ["the reserved opcode 7", frame({ opcode: 7 }), 1002],
  ["the reserved opcode 11", frame({ opcode: 11 }), 1002],
  ["the reserved opcode 15", frame({ opcode: 15 }), 1002],
  ["a ping in fragments", frame({ opcode: PING, fin: false }), 1002],
  ["a close in fragments", frame({ opcode: CLOSE, fin: false }), 1002],
  ["a ping of 126 bytes", frame({ opcode: PING, payload: Buffer.alloc(126) }), 1002],
  ["a pong of 126 bytes", frame({ opcode: PONG, payload: Buffer.alloc(126) }), 1002],
  ["a close of 126 bytes", frame({ opcode: CLOSE, payload: Buffer.alloc(126) }), 1002],
  ["a continuation of nothing", more("{}"), 1002],
  ["a text inside a fragmented text", Buffer.concat([start("{"), text("}")]), 1002],
  ["a binary inside a fragmented text", Buffer.concat([start("{"), frame({ opcode: BINARY })]), 1002],
  ["a continuation after the last", Buffer.concat([start('{"type":'), more('"ping"}'), more("x")]), 1002],
  [
    "a ping inside a fragmented text",
    Buffer.concat([start('{"type":'), frame({ opcode: PING }), more('"ping"}')]),
    PONGED,
  ],
  [
    "a fragmented text, some of it empty",
    Buffer.concat([start(""), more('{"type":', false), more("", false), more('"ping"}')]),
    PONGED,
  ],
];

const utf8: readonly Case[] = [
  ["a byte that is no UTF-8", frame({ opcode: TEXT, payload: hex("ff") }), 1007],
  ["overlong UTF-8", frame({ opcode: TEXT, payload: hex("c0af") }), 1007],
  ["a surrogate in UTF-8", frame({ opcode: TEXT, payload: hex("eda080") }), 1007],
  ["beyond U+10FFFF", frame({ opcode: TEXT, payload: hex("f4908080") }), 1007],
  ["a character cut off at the end", frame({ opcode: TEXT, payload: hex("22e282") }), 1007],
  [
    "a character that goes wrong in the next fragment",
    Buffer.concat([start(hex("22e2")), more(hex("2822"))]),
    1007,
  ],
  [
    "a character in two fragments",
    Buffer.concat([
      start(Buffer.concat([Buffer.from('{"type":"ping","x":"'), hex("e282")])),
      more(Buffer.concat([hex("ac"), Buffer.from('"}')])),
    ]),
    PONGED,
  ],
  ["a byte order mark", text('\u{feff}{"type":"ping"}'), BAD],
];

const closes: readonly Case[] = [
  ["a close of one byte", frame({ opcode: CLOSE, payload: hex("03") }), 1002],
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535].map((code): Case => [
    `the close code ${code}`,
    closing(code),
    1002,
  ]),
  ["a close with a reason that is no UTF-8", frame({ opcode: CLOSE, payload: hex("03e8ff") }), 1007],
  ["a close: repeated", closing(1000, "bye"), 1000],
  ["a close with a code of an application: repeated", closing(4999), 4999],
  ["a client's own 1008: repeated", closing(1008, "mine"), 1008],
  ["a close that says nothing", frame({ opcode: CLOSE }), 1005],
  ["frames after a close", Buffer.concat([closing(1000), text("garbage"), frame({ opcode: 3 })]), 1000],
  ["a close inside a fragmented text", Buffer.concat([start("{"), closing(1001)]), 1001],
];

const sizes: readonly Case[] = [
  ["one byte more than 128 KiB", frame({ opcode: TEXT, payload: Buffer.alloc(131_073, 32) }), 1009],
  ["128 KiB to the byte", text(`{"type":"ping","pad":"${"x".repeat(131_072 - 24)}"}`), PONGED],
  ["a length of 2^53", frame({ opcode: TEXT, length: 2n ** 53n }), 1009],
  ["a length of 2^53 - 1", frame({ opcode: TEXT, length: 2n ** 53n - 1n }), 1009],
  ["a length with the highest bit", frame({ opcode: TEXT, length: 2n ** 63n }), 1009],
  ["a length of 2^64 - 1", frame({ opcode: BINARY, length: 2n ** 64n - 1n }), 1009],
  ["a short length in 64 bits", frame({ opcode: TEXT, payload: '{"type":"ping"}', length: 15n }), PONGED],
  [
    "fragments that are too large together",
    Buffer.concat([start(Buffer.alloc(70_000, 32)), more(Buffer.alloc(70_000, 32))]),
    1009,
  ],
  ["too many fragments", Buffer.concat([start("{"), repeated(more(" ", false), 100)]), 1009],
  ["a flood of empty fragments", Buffer.concat([start(""), repeated(more("", false), 5_000)]), 1009],
  [
    "cut off in a frame, then FIN",
    (client) => void client.socket.end(frame({ opcode: TEXT, payload: "x".repeat(100) }).subarray(0, 50)),
    "cut",
  ],
  ["cut off in a header, then FIN", (client) => void client.socket.end(hex("81")), "cut"],
  ["cut off in a frame, then RST", cutOff, "cut"],
  ["a byte at a time", dribble, PONGED],
  ["many frames in one packet", repeated(json({ type: "ping" }), 100), PONGED, BAD],
  [
    "a flood of pings",
    repeated(frame({ opcode: PING, payload: Buffer.alloc(125) }), 2_000),
    [4429, "PETREL_RATE_LIMITED"],
    BAD,
  ],
  ["a flood of pongs", repeated(frame({ opcode: PONG }), 2_000), [4429, "PETREL_RATE_LIMITED"], BAD],
  ["a flood of frames", repeated(json({ type: "ping" }), 2_000), [4429, "PETREL_RATE_LIMITED"], BAD],
];

async function cutOff({ socket }: RawClient): Promise<void> {
  socket.write(frame({ opcode: TEXT, payload: "x".repeat(100) }).subarray(0, 50));
  await sleep(5);
  socket.resetAndDestroy();
}

async function dribble({ socket }: RawClient): Promise<void> {
  socket.setNoDelay(true);
  for (const byte of json({ type: "ping" })) {
    socket.write(Buffer.from([byte]));
    await sleep(1);
  }
}

const notFrames: readonly Case[] = [
  ["an empty text", text(""), BAD],
  ["no JSON", text("hello"), BAD],
  ["JSON that is cut off", text('{"type":"ping"'), BAD],
  ["JSON and more", text('{"type":"ping"}{}'), BAD],
  ["null", text("null"), BAD],
  ["a number", text("42"), BAD],
  ["a text", text('"ping"'), BAD],
  ["an array", text('["ping"]'), BAD],
  ["an object without a type", text("{}"), BAD],
  ["10,000 arrays deep", text("[".repeat(10_000) + "]".repeat(10_000)), BAD],
  ["32,000 brackets that never close", text("[".repeat(32_000)), BAD],
  ["2,000 objects deep", text('{"type":"ping","x":'.repeat(2_000) + "1" + "}".repeat(2_000)), BAD],
  [
    "deep in a field that nobody reads",
    text(`{"type":"ping","x":${"[".repeat(100)}${"]".repeat(100)}}`),
    BAD,
  ],
  ["brackets in a text are no depth", json({ type: "ping", x: "[".repeat(1_000) }), PONGED],
  ["NUL bytes", text("\0\0\0"), BAD],
  ["a NUL byte behind JSON", text('{"type":"ping"}\0'), BAD],
  ["a NUL in the type", text('{"type":"ping\\u0000"}'), BAD],
  ["half a surrogate pair as the type", text('{"type":"\\ud800"}'), BAD],
  ["the type in __proto__", text('{"__proto__":{"type":"ping"}}'), BAD],
  ["a __proto__ beside the type", text('{"__proto__":{"type":"ack","seq":1},"type":"ping"}'), PONGED],
  [
    "a constructor beside the type",
    text('{"constructor":{"prototype":{"type":"ping"}},"type":"ping"}'),
    PONGED,
  ],
  ["the same key twice: the last counts", text('{"type":"dance","type":"ping"}'), PONGED],
  ["the same key twice, the last is wrong", text('{"type":"ping","type":"dance"}'), BAD],
  ["binary", frame({ opcode: BINARY, payload: '{"type":"ping"}' }), [1003, "PETREL_BINARY_FRAME"]],
  ["empty binary", frame({ opcode: BINARY }), [1003, "PETREL_BINARY_FRAME"]],
  ...[
    "toString",
    "constructor",
    "__proto__",
    "hasOwnProperty",
    "PING",
    " ping",
    "welcome",
    "message",
    "",
  ].map((type): Case => [`the type ${JSON.stringify(type)}`, json({ type }), BAD]),
  ...[0, null, true, {}, ["ping"]].map((type): Case => [
    `the type ${JSON.stringify(type)}`,
    json({ type }),
    BAD,
  ]),
];

const BEYOND = [4400, "PETREL_ACK_BEYOND_SENT"] as const;
const wrongFields: readonly Case[] = [
  ["an ack beyond what was sent", json({ type: "ack", seq: 1 }), BEYOND, EARLY],
  ["an ack of fifteen digits", text('{"type":"ack","seq":999999999999999}'), BEYOND, EARLY],
  ["an ack with zeros before it", text('{"type":"ack","seq":0000001}'), BEYOND, EARLY],
  ...["-1", "0.5", "1e400", "9007199254740992", '"1"', "null", "true", "[1]", "{}"].map((seq): Case => [
    `an ack of ${seq}`,
    text(`{"type":"ack","seq":${seq}}`),
    BAD,
  ]),
  ["an ack of nothing", json({ type: "ack" }), BAD],
  ...["1", "null", '""', "[]", "{}", "true"].flatMap((token): readonly Case[] => [
    [`auth with the token ${token}`, text(`{"type":"auth","token":${token}}`), BAD],
    [`token with the token ${token}`, text(`{"type":"token","token":${token}}`), BAD],
  ]),
  ["auth without a token", json({ type: "auth" }), BAD],
  [
    "auth with a token that is none",
    json({ type: "auth", token: "none" }),
    BAD,
    [4401, "PETREL_TOKEN_INVALID"],
  ],
  [
    "auth with half a surrogate pair",
    text('{"type":"auth","token":"\\ud800.\\udfff.x"}'),
    BAD,
    [4401, "PETREL_TOKEN_INVALID"],
  ],
  [
    "auth with 60 KB",
    json({ type: "auth", token: "x.y.".repeat(15_000) }),
    BAD,
    [4401, "PETREL_TOKEN_INVALID"],
  ],
  [
    "a fresh token that is none",
    json({ type: "token", token: "a.b.c" }),
    [4401, "PETREL_TOKEN_INVALID"],
    EARLY,
  ],
  ["subscribe to a number", json({ type: "subscribe", topic: 1 }), BAD],
  ["subscribe to nothing", json({ type: "subscribe", topic: "" }), REFUSED, EARLY],
  ["unsubscribe from an array", json({ type: "unsubscribe", topic: ["a"] }), BAD],
];

export const wrongFrames = { framing, utf8, closes, sizes, notFrames, wrongFields };
