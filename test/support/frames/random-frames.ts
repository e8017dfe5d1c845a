// Tests only: random frames: right, wrong, mutated, and noise.
// Guarantees: the same random numbers give the same frames.
import type { SeededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { BINARY, closing, frame, json, more, start, text } from "./raw-frames.js";

export interface RandomFrame {
  readonly bytes: Buffer;
  /** The close code that it names. */
  readonly code?: number;
  readonly isNoise?: boolean;
}

export function randomFrame(random: SeededRandom): RandomFrame {
  const kind = random.between(0, 10);
  if (kind < 2)
    return {
      bytes: json(
        random.pick<object>([
          { type: "ping" },
          { type: "ack", seq: 0 },
          { type: "subscribe", topic: "t" },
          { type: "subscribe", topics: [{ topic: "$all", epoch: "e", offset: 1 }, { topic: "t" }] },
          { type: "publish", ref: "r", topic: "t", data: [1] },
        ]),
      ),
    };
  if (kind < 5) return { bytes: text(randomJson(random, 0)) };
  if (kind === 5) return { bytes: noise(random, random.between(1, 200)), isNoise: true };
  if (kind === 6) {
    const code = random.between(0, 65_536);
    return random.chance(0.3) ? { bytes: closing(code), code } : { bytes: json({ type: "ping" }) };
  }
  if (kind === 7) {
    // A right one with a few bits flipped. It may close with a random code of its own.
    const bytes = Buffer.from(
      random.pick([json({ type: "ping" }), json({ type: "ack", seq: 1 }), start("{"), more("}")]),
    );
    for (let i = random.between(1, 4); i > 0; i--) {
      const at = random.between(0, bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 8));
    }
    return { bytes };
  }
  if (kind === 8 && random.chance(0.3)) return { bytes: text(" ".repeat(random.between(131_066, 131_136))) };
  if (kind === 9 && random.chance(0.3)) return { bytes: frame({ opcode: BINARY, payload: "x" }) };
  const payload = noise(random, random.pick([0, 1, 2, 125, 126, 65_536, 131_072, 131_073, 131_136]));
  const opcode = random.pick([0, 1, 1, 1, 2, 2, 3, 9, 10, 11]);
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
  const names = [
    "type",
    "seq",
    "token",
    "topic",
    "topics",
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "x",
  ];
  const members = Array.from({ length: random.between(0, 5) }, () => `"${random.pick(names)}":${inner()}`);
  if (random.chance(0.5))
    members.push(`"type":"${random.pick(["ack", "ping", "token", "subscribe", "publish", "auth", "x"])}"`);
  return `{${members.join(",")}}`;
}
