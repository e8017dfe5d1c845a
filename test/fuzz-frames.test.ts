// Flow: bytes that no library would send, over raw TCP to a running node, before and after authentication.
// Guarantees: each ends with the close code and the error code that the contract names; the node lives, nothing is left
// unhandled, and a well-behaved client is served after each group.
import { setTimeout as sleep } from "node:timers/promises";
import { chooseSeed, seededRandom, type SeededRandom } from "@petrel/shared/testing/seeded-random";
import { startCluster, type TestCluster } from "@petrel/shared/testing/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/ws-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openRaw, type RawClient } from "../services/push-node/src/testing/raw-client.js";
import { sized } from "./sizes.js";

const RANDOM_CONNECTIONS = sized(1_000, 250);
const FRAMES_EACH = 12;

let cluster: TestCluster;
const tokens: string[] = [];
let nextToken = 0;
beforeAll(async () => {
  cluster = await startCluster({ nodes: 1, environment: { MAX_CONNECTIONS_PER_USER: "1000" } });
  for (let i = 0; i < 200; i++) tokens.push(await cluster.tokenFor(`fuzz-${i}`));
});
afterAll(() => cluster.stop());

const node = () => cluster.newest("push-node-1");

let healthyCount = 0;
afterEach(async () => {
  const user = `healthy-${healthyCount++}`;
  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor(user),
  });
  await cluster.post("/v1/messages", { to: { user }, data: "still here" });
  expect((await client.untilMessages(1))[0]?.data).toBe("still here");
  client.close();
  expect(node().isRunning()).toBe(true);
  expect((await node().log()).toLowerCase()).not.toMatch(
    /unhandled|uncaught|"level":(50|60)|"level":"(error|fatal)"/,
  );
});

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

interface FrameParts {
  readonly opcode: number;
  readonly payload?: Buffer | string;
  readonly fin?: boolean;
  /** The three reserved bits, RSV1 the highest. */
  readonly rsv?: number;
  readonly masked?: boolean;
  /** What the header says, in 64 bits, whatever follows. */
  readonly length?: bigint;
}

/** A frame as RFC 6455 section 5.2 lays it out, or not quite. */
function frame({ opcode, payload = "", fin = true, rsv = 0, masked = true, length }: FrameParts): Buffer {
  const bytes = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const maskBit = masked ? 0x80 : 0;
  const header = Buffer.alloc(
    length !== undefined || bytes.length > 65_535 ? 10 : bytes.length > 125 ? 4 : 2,
  );
  header[0] = first;
  header[1] = maskBit | (header.length === 10 ? 127 : header.length === 4 ? 126 : bytes.length);
  if (header.length === 4) header.writeUInt16BE(bytes.length, 2);
  if (header.length === 10) header.writeBigUInt64BE(length ?? BigInt(bytes.length), 2);
  if (!masked) return Buffer.concat([header, bytes]);
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([header, mask, bytes.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

const text = (payload: string): Buffer => frame({ opcode: TEXT, payload });
const json = (value: unknown): Buffer => text(JSON.stringify(value));
const start = (payload: Buffer | string): Buffer => frame({ opcode: TEXT, payload, fin: false });
const more = (payload: Buffer | string, fin = true): Buffer => frame({ opcode: 0, payload, fin });
const hex = (digits: string): Buffer => Buffer.from(digits, "hex");
const closing = (code: number, reason = ""): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(code);
  return frame({ opcode: CLOSE, payload: Buffer.concat([bytes, Buffer.from(reason)]) });
};
const repeated = (bytes: Buffer, count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes));

/** A close code, and the code of the error frame before it; a reply and no close; the end of the socket without either. */
type Outcome = number | readonly [number, string] | { readonly reply: string } | "cut";
type Send = Buffer | ((client: RawClient) => Promise<void> | void);

const BAD = [4400, "PETREL_BAD_FRAME"] as const;
const EARLY = [4401, "PETREL_UNAUTHENTICATED"] as const;
const PONGED = { reply: "pong" } as const;

/** Name, what is sent, and what becomes of it: after authentication, and before it where that is not the same. */
type Case = readonly [name: string, send: Send, after: Outcome, before?: Outcome];

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
  ["one byte more than 64 KiB", frame({ opcode: TEXT, payload: Buffer.alloc(65_537, 32) }), 1009],
  ["64 KiB to the byte", text(`{"type":"ping","pad":"${"x".repeat(65_536 - 24)}"}`), PONGED],
  ["a length of 2^53", frame({ opcode: TEXT, length: 2n ** 53n }), 1009],
  ["a length of 2^53 - 1", frame({ opcode: TEXT, length: 2n ** 53n - 1n }), 1009],
  ["a length with the highest bit", frame({ opcode: TEXT, length: 2n ** 63n }), 1009],
  ["a length of 2^64 - 1", frame({ opcode: BINARY, length: 2n ** 64n - 1n }), 1009],
  ["a short length in 64 bits", frame({ opcode: TEXT, payload: '{"type":"ping"}', length: 15n }), PONGED],
  [
    "fragments that are too large together",
    Buffer.concat([start(Buffer.alloc(40_000, 32)), more(Buffer.alloc(40_000, 32))]),
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
  ["5,000 objects deep", text('{"type":"ping","x":'.repeat(2_000) + "1" + "}".repeat(2_000)), BAD],
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
  ["subscribe to nothing", json({ type: "subscribe", topic: "" }), BAD],
  ["unsubscribe from an array", json({ type: "unsubscribe", topic: ["a"] }), BAD],
];

const groups = { framing, utf8, closes, sizes, notFrames, wrongFields };

async function open(isAuthenticated: boolean): Promise<RawClient> {
  const token = tokens[nextToken++ % tokens.length] ?? "";
  const headers = isAuthenticated ? { authorization: `Bearer ${token}` } : {};
  const client = await openRaw({ port: node().port, headers });
  if (isAuthenticated)
    await waitFor(() => repliesOf(client).includes("welcome"), { what: "the welcome", everyMs: 2 });
  return client;
}

function textsOf(client: RawClient): { readonly type: string; readonly code?: string }[] {
  return client
    .frames()
    .filter(({ opcode }) => opcode === TEXT)
    .map(({ payload }) => JSON.parse(payload.toString("utf8")) as { type: string; code?: string });
}

const repliesOf = (client: RawClient): string[] => textsOf(client).map(({ type }) => type);

/** The code of the close frame that came: 1005 for one that names none. */
function closeCodeOf(client: RawClient): number | undefined {
  const close = client.frames().find(({ opcode }) => opcode === CLOSE);
  if (close === undefined) return undefined;
  return close.payload.length < 2 ? 1005 : close.payload.readUInt16BE(0);
}

async function become(client: RawClient, expected: Outcome): Promise<Outcome> {
  const isReply = typeof expected === "object" && "reply" in expected;
  await waitFor(
    () =>
      closeCodeOf(client) !== undefined ||
      client.isGone() ||
      (isReply && repliesOf(client).includes(expected.reply)),
    { what: "an end or a reply", everyMs: 2 },
  );
  const code = closeCodeOf(client);
  if (code !== undefined) {
    const error = textsOf(client).find(({ type }) => type === "error");
    return error?.code === undefined ? code : [code, error.code];
  }
  return client.isGone() ? "cut" : { reply: repliesOf(client).at(-1) ?? "" };
}

describe.each(Object.entries(groups))("%s", (_group, cases) => {
  test.each(["after", "before"] as const)(
    "%s authentication",
    async (when) => {
      const wrong: unknown[] = [];
      for (const [name, send, after, before = after] of cases) {
        const expected = when === "after" ? after : before;
        const client = await open(when === "after");
        if (Buffer.isBuffer(send)) client.socket.write(send);
        else await send(client);
        const outcome = await become(client, expected).catch(String);
        if (JSON.stringify(outcome) !== JSON.stringify(expected)) wrong.push({ name, expected, outcome });
        client.socket.destroy();
      }
      expect(wrong).toEqual([]);
    },
    120_000,
  );
});

test("there are at least forty cases, each of its own", () => {
  const names = Object.values(groups).flatMap((cases) => cases.map(([name]) => name));
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(40);
  process.stdout.write(`${names.length} named cases\n`);
});

/** What the server may close with by itself (the contract's list); a client's own code is repeated to it. */
const CONTRACT = new Set([
  1001, 1002, 1003, 1005, 1007, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4429,
]);

describe("at random", () => {
  test(`${RANDOM_CONNECTIONS} connections of ${FRAMES_EACH} frames that are right, wrong, mutated or noise`, async () => {
    const random = seededRandom(chooseSeed("fuzz-frames"));
    const seen = new Map<number | "cut" | "open", number>();
    for (let done = 0; done < RANDOM_CONNECTIONS; done += 10) {
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => fuzz(random)));
      for (const outcome of outcomes) seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }
    process.stdout.write(
      `closed with ${[...seen]
        .sort(([a], [b]) => String(a).localeCompare(String(b)))
        .map(([code, n]) => `${code}: ${n}`)
        .join(", ")}\n`,
    );
    // All kinds of ends were reached, or this shows nothing.
    for (const code of [1002, 1003, 1007, 1009, 4400]) expect(seen.has(code), String(code)).toBe(true);
  }, 300_000);
});

async function fuzz(random: SeededRandom): Promise<number | "cut" | "open"> {
  const client = await open(random.chance(0.6));
  const own = new Set<number>([1000]);
  let isNoisy = false;
  for (let i = 0; i < FRAMES_EACH && !client.isGone() && closeCodeOf(client) === undefined; i++) {
    const { bytes, code, isNoise = false } = randomFrame(random);
    if (code !== undefined) own.add(code);
    isNoisy ||= isNoise;
    client.socket.write(bytes);
    if (random.chance(0.3)) await sleep(1);
  }
  if (random.chance(0.2)) client.socket.end();
  // What is left in the middle of a frame is never answered: a close that nobody waits for is enough.
  await waitFor(() => closeCodeOf(client) !== undefined || client.isGone(), {
    what: "an end",
    deadlineMs: 300,
    everyMs: 5,
  }).catch(() => undefined);
  const code = closeCodeOf(client);
  const outcome = code ?? (client.isGone() ? "cut" : "open");
  client.socket.destroy();
  // Noise may happen to be a close, whose code is repeated.
  if (code !== undefined && !CONTRACT.has(code) && !own.has(code) && !isNoisy) {
    throw new Error(`closed with ${code}`);
  }
  for (const reply of textsOf(client)) expect(typeof reply.type).toBe("string");
  return outcome;
}

interface RandomFrame {
  readonly bytes: Buffer;
  /** The close code that it names. */
  readonly code?: number;
  readonly isNoise?: boolean;
}

function randomFrame(random: SeededRandom): RandomFrame {
  const kind = random.between(0, 10);
  if (kind < 2)
    return {
      bytes: json(
        random.pick([{ type: "ping" }, { type: "ack", seq: 0 }, { type: "subscribe", topic: "t" }]),
      ),
    };
  if (kind < 5) return { bytes: text(randomJson(random, 0)) };
  if (kind === 5) return { bytes: noise(random, random.between(1, 200)), isNoise: true };
  if (kind === 6) {
    const code = random.between(0, 65_536);
    return random.chance(0.3) ? { bytes: closing(code), code } : { bytes: json({ type: "ping" }) };
  }
  if (kind === 7) {
    // A right one with a few bits turned. What it closes with by chance is a code of its own.
    const bytes = Buffer.from(
      random.pick([json({ type: "ping" }), json({ type: "ack", seq: 1 }), start("{"), more("}")]),
    );
    for (let i = random.between(1, 4); i > 0; i--) {
      const at = random.between(0, bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 8));
    }
    return { bytes };
  }
  if (kind === 8 && random.chance(0.3)) return { bytes: text(" ".repeat(random.between(65_530, 65_600))) };
  const payload = noise(random, random.pick([0, 1, 2, 125, 126, 1_000, 65_535, 65_536, 65_600]));
  const opcode = random.pick([0, 1, 1, 1, 2, 3, 9, 10, 11]);
  return {
    bytes: frame({
      opcode,
      payload,
      fin: random.chance(0.7),
      rsv: random.chance(0.9) ? 0 : random.between(1, 8),
      masked: random.chance(0.95),
    }),
  };
}

function noise(random: SeededRandom, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.between(0, 256)));
}

function randomJson(random: SeededRandom, depth: number): string {
  const scalar = (): string =>
    random.pick([
      "null",
      "true",
      "0",
      "-1",
      "1e308",
      "1e400",
      '"ack"',
      '"ping"',
      '"\\ud800"',
      '"\\u0000"',
      '""',
      "9".repeat(400),
    ]);
  if (depth > 4 || random.chance(0.3)) return scalar();
  const inner = (): string => randomJson(random, depth + 1);
  if (random.chance(0.2)) return `[${Array.from({ length: random.between(0, 4) }, inner).join(",")}]`;
  const names = ["type", "seq", "token", "topic", "__proto__", "constructor", "prototype", "toString", "x"];
  const members = Array.from({ length: random.between(0, 5) }, () => `"${random.pick(names)}":${inner()}`);
  if (random.chance(0.5))
    members.push(`"type":"${random.pick(["ack", "ping", "token", "subscribe", "auth", "x"])}"`);
  return `{${members.join(",")}}`;
}
