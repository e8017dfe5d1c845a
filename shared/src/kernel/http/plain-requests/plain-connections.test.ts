// Tests connections whose plain requests are taken before Node parses them, beside a server without: the same bytes get
// the same answers, however they are cut.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import * as fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { serverIdentity } from "../../../testing/tls/tls-identities.js";
import { waitFor } from "../../../testing/wait-for.js";
import { createLogger } from "../../logging/logging.js";
import { answerJson } from "../bodies/whole-requests.js";
import { buildHttpApp } from "../http-app.js";
import { type DirectAnswer, takePlainRequests } from "./plain-connections.js";

/** The far end of a connection, in memory: what is pushed here is one read. */
class Connection extends Duplex {
  written = "";
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written += chunk.toString("latin1");
    done();
  }
  destroySoon(): void {
    this.end(() => this.destroy());
  }
}

interface Echoed {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingMessage["headers"];
}

const echo = ({ method, url, headers }: Echoed, body: Buffer): string =>
  JSON.stringify({ method, url, headers, body: body.toString("latin1") });
const turn = () => new Promise((resolve) => setImmediate(resolve));
/** Bodies that are left to Node. */
const REFUSED = "leave";

interface Opened {
  readonly server: Server;
  /** Requests that were taken before Node parsed them. */
  readonly taken: () => number;
}

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** Answers each request with what it was, a turn later. */
async function openServer(takes: boolean): Promise<Opened> {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.headers.via === "early") {
      response.end();
      return;
    }
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () =>
      setImmediate(() => {
        response.setHeader("x-left", "1");
        answerJson(response, { status: 202, json: echo(request, Buffer.concat(pieces)), requestId: "r" });
      }),
    );
  };
  const server = createServer({ keepAliveTimeout: 7_000 }, answer);
  let taken = 0;
  if (takes) {
    takePlainRequests<true>(server, {
      wants: ({ url }) => (url === "/v1/messages" ? true : undefined),
      take: (request, body, _wanted, { header, end }) => {
        if (body.includes(REFUSED)) return false;
        taken++;
        setImmediate(() => {
          header("x-left", "1");
          end({ status: 202, json: echo(request, body), requestId: "r" });
        });
        return true;
      },
    });
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(server);
  return { server, taken: () => taken };
}

/** @returns all that was answered to these reads */
async function exchange(
  { server }: Opened,
  reads: readonly Buffer[],
  pauses: readonly number[],
): Promise<string> {
  const socket = new Connection();
  socket.on("error", () => undefined);
  server.emit("connection", socket);
  for (const [i, read] of reads.entries()) {
    if (!socket.destroyed) socket.push(Buffer.from(read));
    for (let n = pauses[i % pauses.length] ?? 0; n > 0; n--) await turn();
  }
  for (let n = 0; n < 8 + 4 * reads.length; n++) await turn();
  const { written, destroyed } = socket;
  socket.destroy();
  return `${written.replaceAll(/Date: [^\r]*/g, "Date: …")}${destroyed ? "(ended)" : ""}`;
}

const request = (body: string, more = "", url = "/v1/messages"): string =>
  `POST ${url} HTTP/1.1\r\nHost: a\r\n${more}Content-Length: ${Buffer.byteLength(body, "latin1")}\r\n\r\n${body}`;
const bytes = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text, "latin1"));

test("leaves a connection's first request to Node and takes the next ones", async () => {
  const [ours, nodes] = [await openServer(true), await openServer(false)];
  const reads = bytes(request("1"), request("22"), request("3ü", "Via: x\r\n"), request("44"));
  const answers = await exchange(ours, reads, [6]);
  expect(answers.match(/202 Accepted/g)).toHaveLength(4);
  expect(answers).toBe(await exchange(nodes, reads, [6]));
  expect(ours.taken()).toBe(3);
});

test("leaves a body in two reads to Node and takes the requests after it", async () => {
  const ours = await openServer(true);
  const whole = request("0123456789");
  const reads = bytes(request("1"), whole.slice(0, -4), whole.slice(-4), request("22"));
  expect((await exchange(ours, reads, [6])).match(/202 Accepted/g)).toHaveLength(3);
  expect(ours.taken()).toBe(1);
});

test("does not take the rest of a body for a request, even if Node has already answered", async () => {
  const ours = await openServer(true);
  const whole = request(request("9"), "Via: early\r\n");
  const reads = bytes(request("1"), whole.slice(0, -9), whole.slice(-9), request("22"));
  const answers = await exchange(ours, reads, [6]);
  expect(answers.match(/ 20\d /g)).toEqual([" 202 ", " 200 ", " 202 "]);
  expect(ours.taken()).toBe(1);
});

test("leaves everything to Node once a request's end is uncertain", async () => {
  const ours = await openServer(true);
  const reads = bytes(request("1"), `${request("2")}POST /v1/mess`, request("3").slice(12), request("4"));
  expect((await exchange(ours, reads, [6])).match(/202 Accepted/g)).toHaveLength(4);
  expect(ours.taken()).toBe(0);
});

test("a request that arrives before an answer waits for it", async () => {
  const [ours, nodes] = [await openServer(true), await openServer(false)];
  const reads = bytes(
    request("1"),
    ...["2", "3", "4"].map((body) => request(body)),
    request("5", "", "/other"),
  );
  const answers = await exchange(ours, reads, [6, 0, 0, 0, 0]);
  expect([...answers.matchAll(/"body":"(\d)"/g)].map(([, body]) => body)).toEqual(["1", "2", "3", "4", "5"]);
  expect(answers).toBe(await exchange(nodes, reads, [6, 0, 0, 0, 0]));
  expect(ours.taken()).toBe(3);
});

/** For which Node's parser at once ends the connection: it would cut off the answers that are under way. */
const WRONG = [
  request("x", "Transfer-Encoding: chunked\r\n"),
  request("x", "Content-Length: 2\r\n"),
  "POST /v1/messages HTTP/1.1\nHost: a\n\n",
  "\0",
];
const part = fc.oneof(
  {
    weight: 24,
    arbitrary: fc
      .tuple(
        fc.constantFrom("", "x", "ü", "0123456789", REFUSED, "POST / HTTP/1.1\r\n\r\n"),
        fc.constantFrom("", "", "", "", "Via: a\r\n", "X-Odd: a\r\n", "Connection: keep-alive\r\n"),
        fc.constantFrom("/v1/messages", "/v1/messages", "/v1/messages", "/other"),
      )
      .map(([body, more, url]) => request(body, more, url)),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      request("x", "Connection: close\r\n"),
      "POST /v1/messages HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
      "\r\n",
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...WRONG) },
);

test("gives any bytes, cut anywhere, the answers of Node's parser", async () => {
  const [ours, nodes] = [await openServer(true), await openServer(false)];
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { minLength: 2, maxLength: 5 }),
      fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(fc.nat(), { maxLength: 3 })),
      fc.array(fc.constantFrom(0, 1, 6), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (parts, places, waits, cutsAtParts) => {
        const pauses = parts.some((one) => WRONG.includes(one)) ? [6] : waits;
        const text = parts.join("");
        const ends = parts.map((_, i) => parts.slice(0, i + 1).join("").length);
        const cuts = [
          ...(cutsAtParts ? ends : []),
          ...places.map((place) => place % text.length),
          text.length,
        ];
        const sorted = [...new Set(cuts)].toSorted((a, b) => a - b);
        const reads = bytes(...sorted.map((cut, i) => text.slice(sorted[i - 1] ?? 0, cut))).filter(
          ({ length }) => length > 0,
        );
        expect(await exchange(ours, reads, pauses)).toBe(await exchange(nodes, reads, pauses));
      },
    ),
    { numRuns: 150 },
  );
  expect(ours.taken()).toBeGreaterThan(15);
});

/** What a socket has received. */
function heard(socket: Socket): () => string {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  return () => text;
}

test("works over TLS, too", async () => {
  let taken = 0;
  const server = createTlsServer(serverIdentity, (_request, response) => response.end("by Node"));
  takePlainRequests<true>(server, {
    wants: () => true,
    take: (_request, _body, _wanted, { end }) => {
      taken++;
      end({ status: 202, json: "[]", requestId: "r" });
      return true;
    },
  });
  open.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  const text = heard(socket);
  socket.write(request("1"));
  await waitFor(() => text().includes("by Node"), { what: "the first answer" });
  for (let n = 1; n <= 3; n++) {
    socket.write(request(String(n)));
    await waitFor(() => text().split("[]").length > n, { what: "an answer" });
  }
  expect(taken).toBe(3);
  socket.destroy();
});

test("a stop waits for an answer, which tells the client to leave", async () => {
  const app = await buildHttpApp({
    service: "test",
    version: "1",
    logger: createLogger({ service: "test", level: "silent" }),
    bodyLimitBytes: 1_000,
    readiness: () => ({ ready: true, checks: {} }),
    bounds: { stopWindowMs: 0 },
  });
  let waiting: DirectAnswer | undefined;
  takePlainRequests<true>(app.server, {
    wants: () => true,
    take: (_request, _body, _wanted, answer) => {
      waiting = answer;
      return true;
    },
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  const [busy, idle] = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
  const [text, other] = [heard(busy), heard(idle)];
  for (const socket of [busy, idle]) socket.write(request("1"));
  await waitFor(() => text().includes(" 404 ") && other().includes(" 404 "), { what: "the first answers" });
  busy.write(request("2"));
  await waitFor(() => waiting !== undefined, { what: "the request" });
  const stopped = app.close();
  // Whoever waits for nothing is cut off.
  await once(idle, "close");
  waiting?.end({ status: 202, json: "[]", requestId: "r" });
  await once(busy, "close");
  await stopped;
  expect(text()).toMatch(/ 202 Accepted\r\n[^]*Connection: close\r\n\r\n\[\]$/);
});
