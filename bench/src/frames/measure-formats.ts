// frame-formats -> here: bytes and CPU of JSON and of a packed format, for typical frames, encoded and decoded.
// Guarantees: both formats carry the same; rounds alternate, and the best of each counts.
import assert from "node:assert/strict";
import { packAck, packMessage, unpackAck, unpackMessage, type Message } from "./packed-frame.js";

const FRAMES_PER_ROUND = 100_000;

interface Case {
  readonly name: string;
  readonly encodeJson: () => string;
  readonly decodeJson: (text: string) => unknown;
  readonly pack: () => Buffer;
  readonly unpack: (buffer: Buffer) => unknown;
}

/** @returns lines of a table in Markdown */
export function measureFormats(rounds: number): string[] {
  const lines = [
    "| frame | JSON, bytes | packed, bytes | JSON, µs encode + decode | packed, µs encode + decode |",
    "|---|---|---|---|---|",
  ];
  for (const one of cases()) {
    const json = one.encodeJson();
    const packed = one.pack();
    assert.deepEqual(one.unpack(packed), one.decodeJson(json));
    const times = {
      encodeJson: [] as number[],
      decodeJson: [] as number[],
      pack: [] as number[],
      unpack: [] as number[],
    };
    for (let round = 0; round < rounds; round++) {
      times.encodeJson.push(timeOf(one.encodeJson));
      times.pack.push(timeOf(one.pack));
      times.decodeJson.push(timeOf(() => one.decodeJson(json)));
      times.unpack.push(timeOf(() => one.unpack(packed)));
    }
    const best = (all: readonly number[]): string => Math.min(...all).toFixed(2);
    lines.push(
      `| ${one.name} | ${Buffer.byteLength(json)} | ${packed.length} ` +
        `| ${best(times.encodeJson)} + ${best(times.decodeJson)} | ${best(times.pack)} + ${best(times.unpack)} |`,
    );
  }
  return lines;
}

/** @returns µs of CPU a call */
function timeOf(call: () => unknown): number {
  const before = process.cpuUsage();
  for (let i = 0; i < FRAMES_PER_ROUND; i++) call();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / FRAMES_PER_ROUND;
}

function cases(): Case[] {
  const order = { kind: "order", order: "A-1042", state: "shipped", total: 4990, currency: "EUR" };
  const items = Array.from({ length: 12 }, (_, i) => ({
    ...order,
    line: i,
    note: "left with a neighbour ✓",
  }));
  return [
    messageCase("message, 20 bytes of data", { text: "hi there" }),
    messageCase("message, 80 bytes of data", order),
    messageCase("message, 1.5 KB of data", items),
    {
      name: "ack",
      encodeJson: () => JSON.stringify({ type: "ack", seq: 123_456 }),
      decodeJson: (text) => JSON.parse(text) as unknown,
      pack: () => packAck(123_456),
      unpack: unpackAck,
    },
  ];
}

function messageCase(name: string, data: unknown): Case {
  const dataJson = JSON.stringify(data);
  const message: Message = {
    type: "message",
    id: "p1_YD28D72qv7iOgvmiMZE0gw",
    seq: 123_456,
    at: "2030-01-01T12:34:56.789Z",
    data,
  };
  const { id, seq, at } = message;
  return {
    name,
    // As a node does: the data is text already.
    encodeJson: () => `{"type":"message","id":"${id}","seq":${seq},"at":"${at}","data":${dataJson}}`,
    decodeJson: (text) => JSON.parse(text) as unknown,
    pack: () => packMessage(message, dataJson),
    unpack: unpackMessage,
  };
}
