// Flow: the session that docs/receive/protocol.md shows byte by byte, replayed to a real node.
// Guarantees: the client's bytes are sent as on the page, and the node's come back as on the page, except for names,
// times and lengths, and for the order of what nothing comes between; every close code and frame type is on the page.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { readmeBlocks } from "../support/repository/readme-blocks.js";

const page = "docs/receive/protocol.md";
const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
const sessions = readmeBlocks("text", "test/rules/protocol-doc.test.ts", page).map((block) =>
  block
    .trim()
    .split("\n")
    .map((line) => ({ isSent: line.startsWith(">>"), rest: line.slice(3) })),
);
const USER = "eve";

let cluster: TestCluster;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-protocol-"));
  const rules = join(directory, "topics.json");
  await writeFile(rules, '{"rules":[{"topics":"room.*","clientPublish":true}]}');
  cluster = await startCluster({ together: true, nodes: 1, environment: { TOPICS_FILE: rules } });
}, 180_000);
afterAll(async () => {
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function tokenThatLasts(ttlSeconds: number): Promise<string> {
  const answer = await fetch(`${cluster.auth.url}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({
      userId: USER,
      ttlSeconds,
      topics: [{ topic: "room.*", can: ["subscribe", "publish"] }],
    }),
  });
  return ((await answer.json()) as { accessToken: string }).accessToken;
}

/** The bytes at a line's beginning, and the text after them. */
function readFrameLine(line: string): {
  readonly bytes: Buffer;
  readonly isCut: boolean;
  readonly shown: string;
} {
  const [, hex = "", cut = "", shown = ""] = /^((?:[0-9a-f]{2} ?)+)(… )?(.*)$/.exec(line) ?? [];
  return { bytes: Buffer.from(hex.replaceAll(" ", ""), "hex"), isCut: cut !== "", shown };
}

function encodeMasked(payload: string, mask: Buffer): Buffer {
  const bytes = Buffer.from(payload);
  const { length } = bytes;
  const head = Buffer.from(length < 126 ? [0x81, 0x80 | length] : [0x81, 0xfe, length >> 8, length & 255]);
  return Buffer.concat([head, mask, bytes.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

class RawConnection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => (this.#received = Buffer.concat([this.#received, chunk])));
  }

  write(bytes: Buffer | string): void {
    this.#socket.write(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async take(length: (received: Buffer) => number | undefined): Promise<Buffer> {
    const bytes = await waitFor(
      () => {
        const wanted = length(this.#received);
        return wanted !== undefined && this.#received.length >= wanted && this.#received.subarray(0, wanted);
      },
      { what: "the server's bytes", deadlineMs: 20_000 },
    );
    this.#received = this.#received.subarray(bytes.length);
    return bytes;
  }

  takeHead(): Promise<Buffer> {
    return this.take((received) => {
      const end = received.indexOf("\r\n\r\n");
      return end < 0 ? undefined : end + 4;
    });
  }

  async takeFrame(): Promise<{ readonly first: number; readonly payload: Buffer }> {
    const bytes = await this.take((received) => {
      const [, short] = received;
      if (short === undefined || (short === 126 && received.length < 4)) return undefined;
      return short === 126 ? 4 + received.readUInt16BE(2) : 2 + short;
    });
    return { first: bytes[0] ?? 0, payload: bytes.subarray(bytes[1] === 126 ? 4 : 2) };
  }
}

/** Names, times, and a token's remaining life differ from run to run. */
function withoutChance(shown: string): unknown {
  const frame = JSON.parse(shown) as Record<string, unknown>;
  for (const name of ["connection", "node", "epoch", "id", "at", "inSeconds", "expiresIn"]) {
    if (frame[name] !== undefined) frame[name] = typeof frame[name];
  }
  return frame;
}

interface Line {
  readonly isSent: boolean;
  readonly rest: string;
}

/** Lines that follow one another without a word from the other side. */
function inBlocks(lines: readonly Line[]): Line[][] {
  const blocks: Line[][] = [];
  for (const line of lines) {
    const last = blocks.at(-1);
    if (last?.[0]?.isSent === line.isSent) last.push(line);
    else blocks.push([line]);
  }
  return blocks;
}

const isHandshake = ({ rest }: Line): boolean => rest === "" || /^[A-Z]/.test(rest);

test("replays the recorded sessions as they are on the page", { timeout: 60_000 }, async () => {
  expect(sessions).toHaveLength(4);
  const send = (to: Readonly<Record<string, string>>, text: string): Promise<unknown> =>
    cluster.post("/v1/messages", { to, data: { text } });
  /** By topic; "" is the user's own sequence. */
  const epochs = new Map<string, string>();
  await send({ user: USER }, "one");
  for (const [index, lines] of sessions.entries()) {
    if (index === 3) await send({ topic: "room.1" }, "while you were away");
    const token = await tokenThatLasts(index === 1 ? 20 : 3_600);
    const { hostname, port } = new URL(cluster.nodeUrls[0] ?? "");
    const socket = connect({ host: hostname, port: Number(port) });
    await once(socket, "connect");
    const connection = new RawConnection(socket);

    const asked = lines.filter((line) => line.isSent && isHandshake(line)).map(({ rest }) => rest);
    const request = [...asked, ""]
      .join("\r\n")
      .replace("TOKEN", token)
      .replace(/epoch=[^&]+/, `epoch=${epochs.get("")}`)
      .replace(/all=[^:]+/, `all=${epochs.get("$all")}`);
    connection.write(request);
    const answered = lines.filter((line) => !line.isSent && isHandshake(line)).map(({ rest }) => rest);
    expect((await connection.takeHead()).toString()).toBe([...answered, ""].join("\r\n"));
    const key = /Sec-WebSocket-Key: (\S+)/.exec(request)?.[1] ?? "";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    expect(answered).toContain(`Sec-WebSocket-Accept: ${accept}`);

    for (const block of inBlocks(lines.filter((line) => !isHandshake(line)))) {
      const expected: unknown[] = [];
      const received: unknown[] = [];
      for (const { isSent, rest } of block) {
        const { bytes, isCut, shown } = readFrameLine(rest);
        if (isSent && isCut) {
          const fresh = await tokenThatLasts(3_600);
          const said = shown
            .replace("TOKEN", fresh)
            .replace(/"epoch":"[^"]+"/, `"epoch":"${epochs.get("room.1")}"`);
          connection.write(encodeMasked(said, bytes.subarray(-4)));
        } else if (isSent) {
          const mask = bytes.subarray(2, 6);
          const payload = bytes.subarray(6).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
          if (bytes[0] === 0x81) expect(Buffer.from(payload).toString()).toBe(shown);
          connection.write(bytes);
        } else {
          const frame = await connection.takeFrame();
          expect(frame.first, `${shown} is due; there came: ${frame.payload.toString("latin1")}`).toBe(
            bytes[0],
          );
          if (frame.first === 0x88) {
            expect(frame.payload).toEqual(bytes.subarray(2));
            continue;
          }
          // The page's own header gives the length of the page's own text.
          expect(bytes.length === 4 ? bytes.readUInt16BE(2) : bytes[1]).toBe(Buffer.byteLength(shown));
          const said = frame.payload.toString();
          expected.push(withoutChance(shown));
          received.push(withoutChance(said));
          const { type, epoch, topic = "" } = JSON.parse(said) as Readonly<Record<string, string>>;
          if (type === "welcome" || type === "subscribed") epochs.set(topic, epoch ?? "");
          if (type === "pong") await send({ user: USER }, "two");
        }
      }
      expect(received).toHaveLength(expected.length);
      expect(received).toEqual(expect.arrayContaining(expected));
    }
    connection.destroy();
  }
});

test("every close code and every frame is on the page", () => {
  for (const code of Object.values(closeCodes)) expect(text).toMatch(new RegExp(`\\b${code}\\b`));
  const frames = readFileSync(
    new URL("../../shared/src/protocol/frames/server-frames.ts", import.meta.url),
    "utf8",
  );
  const types = [...frames.matchAll(/readonly type: "(\w+)"/g)].map(([, type]) => type);
  expect(types).toEqual(expect.arrayContaining(["welcome", "error", "reconnect", "pong"]));
  for (const type of [...types, "message"]) expect(text).toContain(`**\`${type}\`**`);
});
