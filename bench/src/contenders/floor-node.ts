// Bench, the floor: one `write()` of the same bytes to each socket of a topic, and nothing else.
// Guarantees: no frame is built for a socket, nothing is queued, stored, numbered or answered.
import { createHash } from "node:crypto";
import { writeSync } from "node:fs";
import { createServer } from "node:http";
import type { Socket } from "node:net";

const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** What the petrel's frames have around the data, so that the bytes are as many. */
const ID = "m".repeat(22);

interface HandleOf {
  readonly _handle: { readonly fd: number };
}

const members = new Map<string, Set<number>>();

function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const isShort = payload.length < 126;
  const head = Buffer.from(
    isShort ? [0x81, payload.length] : [0x81, 126, payload.length >> 8, payload.length & 255],
  );
  return Buffer.concat([head, payload]);
}

/** A reader that is gone or full misses the message, and the verdict says so. */
function writeTo(fd: number, frame: Buffer): void {
  try {
    writeSync(fd, frame);
  } catch {
    return;
  }
}

const server = createServer((request, response) => {
  const topic = decodeURIComponent(request.url?.slice(1) ?? "");
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    response.writeHead(202, { "content-type": "application/json" }).end("{}");
    const at = new Date().toISOString();
    const frame = textFrame(
      `{"type":"message","id":"${ID}","topic":"${topic}","offset":1000,"at":"${at}","data":${body}}`,
    );
    for (const fd of members.get(topic) ?? []) writeTo(fd, frame);
  });
});
server.on("upgrade", (request, socket: Socket) => {
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}${ACCEPT_GUID}`)
    .digest("base64");
  socket.setNoDelay(true);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  const topic = decodeURIComponent(request.url?.slice(1) ?? "");
  const joined = members.get(topic) ?? new Set();
  const { fd } = (socket as unknown as HandleOf)._handle;
  members.set(topic, joined.add(fd));
  socket.once("close", () => joined.delete(fd));
  socket.once("end", () => socket.destroy());
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(textFrame("subscribed"));
});
server.listen(Number(process.env["PORT"]), "127.0.0.1");
