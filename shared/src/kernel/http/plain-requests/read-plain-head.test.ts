// Tests the reader of plain heads against Node's parser: what it reads, Node reads alike; what it may not read, it leaves.
import { createServer, type IncomingMessage, type Server } from "node:http";
import { Duplex } from "node:stream";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { anyText } from "../../../testing/any-text.js";
import { readPlainHead } from "./read-plain-head.js";

const HEAD =
  "POST /v1/messages HTTP/1.1\r\nHost: petrel:80\r\nAuthorization: Bearer a.b\r\nContent-Length: 12\r\n\r\n";
const withField = (line: string): string => HEAD.replace("\r\n\r\n", `\r\n${line}\r\n\r\n`);

test("reads a usual client's head", () => {
  expect(readPlainHead(withField("x-Request-ID:r 1"))).toEqual({
    url: "/v1/messages",
    headers: {
      host: "petrel:80",
      authorization: "Bearer a.b",
      "content-length": "12",
      "x-request-id": "r 1",
    },
    contentLength: 12,
  });
  expect(readPlainHead(withField("Connection: Keep-Alive"))?.headers["connection"]).toBe("Keep-Alive");
});

test.each<[string, string]>([
  ["another method", HEAD.replace("POST", "PUT")],
  ["a query", HEAD.replace("messages", "messages?x=1")],
  ["an absolute target", HEAD.replace("/v1", "http://petrel/v1")],
  ["an older HTTP", HEAD.replace("1.1", "1.0")],
  ["two spaces", HEAD.replace("POST /", "POST  /")],
  ["no host", HEAD.replace("Host: petrel:80\r\n", "")],
  ["a wrong host", HEAD.replace("petrel:80", "a b")],
  ["no length", HEAD.replace("Content-Length: 12\r\n", "")],
  ["chunks", withField("Transfer-Encoding: chunked")],
  ["chunks instead of a length", HEAD.replace("Content-Length: 12", "Transfer-Encoding: chunked")],
  ["an expectation", withField("Expect: 100-continue")],
  ["an upgrade", withField("Upgrade: h2c")],
  ["trailers", withField("Trailer: x")],
  ["a coding of the body", withField("Content-Encoding: gzip")],
  ["a signature", withField("Petrel-Key: k")],
  ["an unlisted field", withField("X-Other: 1")],
  ["the end of the connection", withField("Connection: close")],
  ["a list of connection options", withField("Connection: keep-alive, x")],
  ["a field twice", withField("Host: petrel:80")],
  ["a length twice", withField("content-length: 12")],
  ["a folded line", withField("Via: a\r\n b")],
  ["a bare line feed", HEAD.replace("\r\nAuth", "\nAuth")],
  ["a bare carriage return", HEAD.replace("Bearer a", "Bearer\ra")],
  ["a line feed in a value", HEAD.replace("Bearer a", "Bearer\na")],
  ["a zero byte", HEAD.replace("Bearer a", "Bearer\0a")],
  ["a tab", HEAD.replace("Bearer a", "Bearer\ta")],
  ["a byte beyond ASCII", HEAD.replace("Bearer a", "Bearer ä")],
  ["a space before the colon", HEAD.replace("Host:", "Host :")],
  ["a space before a name", HEAD.replace("Host:", " Host:")],
  ["two spaces after the colon", HEAD.replace("Host: ", "Host:  ")],
  ["a space at the end of a line", HEAD.replace("a.b", "a.b ")],
  ["an empty value", withField("Accept:")],
  ["a line without a colon", withField("Accept")],
  ["no name", withField(": a")],
  ["an empty first line", `\r\n${HEAD}`],
  ["more after the end", `${HEAD}x`],
  ["no end", HEAD.slice(0, -2)],
  ...["+12", "-1", "012", "0x12", "1e1", "12,12", "1 2", "12.0", "1234567890", "٣"].map(
    (length): [string, string] => [`the length ${length}`, HEAD.replace(": 12", `: ${length}`)],
  ),
])("leaves to Node: %s", (_what, head) => {
  expect(readPlainHead(head)).toBeUndefined();
});

/** What Node's parser makes of these bytes. */
function readByNode(bytes: Buffer): Promise<IncomingMessage | undefined> {
  return new Promise((resolve) => {
    const server: Server = createServer((request) => resolve(request));
    server.on("clientError", () => resolve(undefined));
    server.on("connect", () => resolve(undefined));
    const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
    server.emit("connection", socket);
    socket.push(bytes);
    setImmediate(() => {
      resolve(undefined);
      socket.destroy();
    });
  });
}

const text = (...parts: string[]) => fc.constantFrom(...parts);
/** Mostly what is usual, so that some of what comes out is plain. */
const mostly = (usual: fc.Arbitrary<string>, ...odd: (string | fc.Arbitrary<string>)[]) =>
  fc.oneof(
    { weight: 12, arbitrary: usual },
    ...odd.map((one) => ({ weight: 1, arbitrary: typeof one === "string" ? fc.constant(one) : one })),
  );
const field = fc
  .tuple(
    mostly(
      text("Accept", "via", "User-Agent", "X-Request-Id", "CONNECTION", "traceparent"),
      text("Host", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "X-Odd"),
      anyText({ maxLength: 6 }),
    ),
    mostly(text(": ", ":"), " :", ":  ", ":\t"),
    mostly(
      text("a", "keep-alive", "12", "b, c", "chunked", "0"),
      text("close", " a", "a ", ""),
      fc.string({ maxLength: 8 }),
      anyText({ maxLength: 8 }),
    ),
    mostly(text("\r\n"), "\n", "\r", "\r\n "),
  )
  .map((parts) => parts.join(""));
const head = fc
  .tuple(
    mostly(text("POST "), "PUT ", "post ", "POST  "),
    mostly(text("/v1/messages", "/v1/messages/batch", "/", "//x"), "/a?b", "*", "/%2f"),
    mostly(text(" HTTP/1.1\r\n"), " HTTP/1.0\r\n", " HTTP/1.1\n", " HTTP/1.11\r\n"),
    mostly(text("Host: a\r\n", "Host: a:1\r\n"), "", "Host: a:b\r\n"),
    fc.array(field, { maxLength: 3 }).map((fields) => fields.join("")),
    mostly(text("Content-Length: 5\r\n", "content-length:0\r\n"), "Content-Length: 05\r\n", ""),
    mostly(text("\r\n"), "\n", ""),
  )
  .map((parts) => parts.join(""));
/** The same, and with a byte changed, left out or put in. */
const damaged = fc
  .tuple(head, fc.nat(), fc.nat(255), text("none", "change", "drop", "add"))
  .map(([whole, at, byte, how]) => {
    const bytes = whole.split("");
    const place = bytes.length === 0 ? 0 : at % bytes.length;
    const put = how === "drop" ? [] : [String.fromCharCode(byte)];
    if (how !== "none") bytes.splice(place, how === "add" ? 0 : 1, ...put);
    return bytes.join("");
  });

test("what it reads as plain, Node reads alike", async () => {
  let plain = 0;
  await fc.assert(
    fc.asyncProperty(damaged, async (head) => {
      const bytes = Buffer.from(head, "latin1");
      const ours = readPlainHead(bytes.toString("latin1"));
      if (ours === undefined) return;
      plain++;
      const theirs = await readByNode(bytes);
      expect(theirs?.method).toBe("POST");
      expect(theirs?.httpVersion).toBe("1.1");
      expect(theirs?.url).toBe(ours.url);
      expect(theirs?.headers).toEqual(ours.headers);
      expect(theirs?.rawHeaders).toHaveLength(Object.keys(ours.headers).length * 2);
    }),
    { numRuns: 2_000 },
  );
  expect(plain).toBeGreaterThan(50);
});
