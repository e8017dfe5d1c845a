// Tests that the express lane answers as the framework does: the same requests take both paths.
// Guarantees: each pair of answers is equal in status, headers and body; the lane takes what it should.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

const HANDLED = "tracing:fastify.request.handler:start";
const PARSED = "http.server.request.start";

let collect: OpenCollect;
const keys: Record<string, string> = {};
/** Requests that a route of the framework handled. */
let handled = 0;
const count = (): void => void handled++;
/** Requests that Node's parser read. */
let parsed = 0;
const countParsed = (): void => void parsed++;

beforeAll(async () => {
  collect = await openCollect({
    accept: { inboxCap: 1 },
    wrapStore: (store) => ({
      accept: (message, request) =>
        message.userId.startsWith("away")
          ? Promise.reject(new PetrelError("PETREL_UNAVAILABLE", "Away.", { retryAfterSeconds: 7 }))
          : message.userId.startsWith("broken")
            ? Promise.reject(Object.assign(new Error("ERR a defect"), { name: "ReplyError" }))
            : store.accept(message, request),
    }),
  });
  keys["sender"] = await collect.producer("shop", ["send"]);
  keys["admin"] = await collect.producer("shop", ["send", "admin"]);
  keys["reader"] = await collect.producer("shop", ["read"]);
  keys["limited"] = await collect.producer("few", ["send"], 1_000);
  keys["silent"] = await collect.producer("none", ["send"], 0);
  subscribe(HANDLED, count);
  subscribe(PARSED, countParsed);
});
beforeEach(() => (handled = 0));
afterAll(async () => {
  unsubscribe(HANDLED, count);
  unsubscribe(PARSED, countParsed);
  await collect.close();
});

interface Case {
  readonly path?: string;
  readonly as?: string;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Without the body's length, which then comes in the headers. */
  readonly framed?: boolean;
  readonly version?: string;
  /** Sent a moment later than the rest. */
  readonly late?: Buffer;
}

interface Answered {
  readonly status: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One connection; answers come in the order of the requests. */
function openConnection(address = collect.address): {
  readonly socket: Socket;
  readonly next: () => Promise<Answered>;
} {
  const socket = connect(Number(new URL(address).port), "127.0.0.1");
  let text = "";
  // A character for each byte: a length is one of bytes.
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  const take = (): Answered | undefined => {
    const interim = /^HTTP\/1\.1 100 [^\r]*\r\n\r\n/.exec(text);
    if (interim !== null) text = text.slice(interim[0].length);
    const end = text.indexOf("\r\n\r\n");
    if (end === -1) return undefined;
    const [status = "", ...lines] = text.slice(0, end).split("\r\n");
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(":")).toLowerCase(),
        line.slice(line.indexOf(":") + 2),
      ]),
    );
    const length = Number(headers["content-length"]);
    const body = text.slice(end + 4, end + 4 + length);
    if (body.length < length) return undefined;
    text = text.slice(end + 4 + length);
    return { status, headers, body: Buffer.from(body, "latin1").toString("utf8") };
  };
  const next = async (): Promise<Answered> => {
    let answered: Answered | undefined;
    await waitFor(() => (answered = take()) !== undefined, { what: "an answer", everyMs: 2 });
    if (answered === undefined) throw new Error("no answer");
    return answered;
  };
  return { socket, next };
}

function bytesOf({
  path = "/v1/messages",
  as = "sender",
  body,
  headers = {},
  framed,
  version,
}: Case): Buffer {
  const lines = {
    host: "petrel",
    ...(keys[as] === undefined ? {} : { authorization: keys[as] }),
    "content-type": "application/json",
    ...(framed === true ? {} : { "content-length": String(Buffer.byteLength(body)) }),
    ...headers,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([
    Buffer.from(`POST ${path} HTTP/${version ?? "1.1"}\r\n${head.join("")}\r\n`),
    Buffer.from(body),
  ]);
}

function send(socket: Socket, one: Case): void {
  const { late } = one;
  if (late === undefined) {
    socket.write(bytesOf(one));
    return;
  }
  const whole = { ...one.headers, "content-length": String(Buffer.byteLength(one.body) + late.length) };
  socket.write(bytesOf({ ...one, headers: whole, framed: true }));
  setTimeout(() => socket.write(late), 20);
}

let names = 0;
const newName = (): string => `n${(names++).toString().padStart(6, "0")}`;

/** Without what differs between two requests that are equal. */
function comparable({ status, headers, body }: Answered, name: string): Answered {
  const { date: _date, ratelimit: _remaining, "x-request-id": id = "", ...rest } = headers;
  expect(id).toMatch(/^[\w-]{8}\.[0-9a-z]+$/);
  return {
    status,
    headers: rest,
    body: body.replaceAll(name, "NAME").replace(/"id":"[^"]+"/g, '"id":"…"'),
  };
}

/** Written as nobody has written it before, so that it is checked: spaces before a credential do not count. */
function unknownSpelling({ as = "sender" }: Case): Readonly<Record<string, string>> {
  const known = keys[as];
  return known === undefined ? {} : { authorization: known.replace(" ", " ".repeat(++spellings)) };
}
let spellings = 1;

/** On a connection of its own, by a producer who is not known yet. */
async function byFramework(make: (name: string) => readonly Case[]): Promise<Answered[]> {
  const name = newName();
  const answers: Answered[] = [];
  for (const one of make(name)) {
    const { socket, next } = openConnection();
    send(socket, { ...one, headers: { ...unknownSpelling(one), ...one.headers } });
    answers.push(comparable(await next(), name));
    socket.destroy();
  }
  return answers;
}

/** On a connection whose producer has just sent a message. */
async function byLane(make: (name: string) => readonly Case[], more?: Case["headers"]): Promise<Answered[]> {
  const name = newName();
  const answers: Answered[] = [];
  for (const one of make(name)) {
    const { socket, next } = openConnection();
    send(socket, { as: one.as ?? "sender", body: `{"to":{"topic":"before"},"data":1}` });
    await next();
    handled = parsed = 0;
    send(socket, more === undefined ? one : { ...one, headers: { ...one.headers, ...more } });
    answers.push(comparable(await next(), name));
    socket.destroy();
  }
  return answers;
}

const to = (user: string, more = ""): string => `{"to":{"user":"${user}"},"data":{"ü":1}${more}}`;
const batch = (...entries: string[]): Pick<Case, "path" | "body"> => ({
  path: "/v1/messages/batch",
  body: `{"messages":[${entries.join(",")}]}`,
});
const keyed = (name: string, more = ""): string => to(name, `,"idempotencyKey":"k${name}"${more}`);

type Made = (name: string) => readonly Case[];

describe("requests the lane handles", () => {
  test.each<[string, Made]>([
    ["a message", (name) => [{ body: to(name) }]],
    [
      "its type with a charset",
      (name) => [{ body: to(name), headers: { "content-type": "application/json; charset=utf-8" } }],
    ],
    ["a list of users", (name) => [{ body: `{"to":{"users":["${name}","${name}b"]},"data":[]}` }]],
    ["a topic", (name) => [{ body: `{"to":{"topic":"${name}"},"data":null}` }]],
    ["a broadcast", () => [{ as: "admin", body: `{"to":{"all":true},"data":"x"}` }]],
    [
      "a message for later",
      (name) => [{ body: to(name, `,"deliverAt":"${new Date(Date.now() + 3e6).toISOString()}"`) }],
    ],
    ["with a limit", (name) => [{ as: "limited", body: to(name) }]],
    ["a repetition", (name) => [{ body: keyed(name) }, { body: keyed(name) }]],
    [
      "another content with the same key: 422",
      (name) => [{ body: keyed(name) }, { body: keyed(name, `,"ttlSeconds":5`) }],
    ],
    ["a full inbox", (name) => [{ body: to(name) }, { body: to(name) }]],
    ["an unreachable store: 503", (name) => [{ body: to(`away${name}`) }]],
    ["a defect: 500", (name) => [{ body: to(`broken${name}`) }]],
    ["an end of the connection", (name) => [{ body: to(name), headers: { connection: "close" } }]],
    ["a batch", (name) => [batch(to(name), `{"to":{"topic":"${name}"},"data":1}`)]],
    [
      "a batch with bad entries",
      (name) => [
        batch(to(name), "1", `{"to":{},"data":1}`, to(`away${name}`), `{"to":{"all":true},"data":1}`),
      ],
    ],
    [
      "a batch whose answer has letters beyond ASCII",
      (name) => [batch(to(name), `{"to":{"user":"${name}"},"data":1,"größe":"語"}`)],
    ],
  ])("%s", async (_what, make) => {
    const expected = await byFramework(make);
    expect(handled).toBe(make("").length);
    const isLast = make("").some(({ headers = {} }) => headers["connection"] === "close");
    for (const [more, reads] of [
      [undefined, isLast ? 1 : 0],
      // A field that the reader of plain heads does not know.
      [{ "x-unusual": "1" }, 1],
    ] as const) {
      let answers: Answered[] = [];
      // A machine that stands still for a second forgets the producer.
      for (let tries = 0; tries < 20; tries++) {
        answers = await byLane(make, more);
        if (handled === 0) break;
      }
      expect(handled).toBe(0);
      expect(parsed).toBe(reads);
      expect(answers).toEqual(expected);
    }
  });
});

test("uses the lane on a new connection at once if its producer was checked a moment ago on another", async () => {
  for (let tries = 0; tries < 20; tries++) {
    const [first, second] = [openConnection(), openConnection()];
    send(first.socket, { body: to(newName()) });
    await first.next();
    handled = 0;
    send(second.socket, { body: to(newName()) });
    expect((await second.next()).status).toContain("202");
    for (const { socket } of [first, second]) socket.destroy();
    if (handled === 0) break;
  }
  expect(handled).toBe(0);
});

test.each([
  ["taken", (name: string) => to(name), "202"],
  ["away", (name: string) => to(`away${name}`), "503"],
])("returns a request's own id: %s", async (_what, make, status) => {
  const { socket, next } = openConnection();
  let answered: Answered | undefined;
  for (let tries = 0; tries < 20; tries++) {
    send(socket, { body: `{"to":{"topic":"before"},"data":1}` });
    await next();
    handled = 0;
    send(socket, { body: make(newName()), headers: { "x-request-id": "shop/order-17" } });
    answered = await next();
    if (handled === 0) break;
  }
  socket.destroy();
  expect(handled).toBe(0);
  expect(answered?.status).toContain(status);
  expect(answered?.headers["x-request-id"]).toBe("shop/order-17");
});

test("counts the lane's answers by route, like the framework's", async () => {
  const seen = async (): Promise<Record<string, number>> => {
    const rows = (await collect.metrics()).matchAll(
      /^petrel_http_requests_total\{route="(\/v1\/messages[^"]*)",method="POST",status="(\d+)".*\} (\d+)$/gm,
    );
    return Object.fromEntries(
      [...rows].map(([, route = "", status = "", count]) => [`${route} ${status}`, Number(count)]),
    );
  };
  const timed = async (): Promise<number> =>
    Number(
      /^petrel_http_request_duration_seconds_count\{route="\/v1\/messages",method="POST".*\} (\d+)$/m.exec(
        await collect.metrics(),
      )?.[1] ?? 0,
    );
  const before = await seen();
  const timedBefore = await timed();
  const both = async (make: Made): Promise<void> => {
    await byFramework(make);
    await byLane(make);
  };
  await both((name) => [{ body: to(name) }, { body: to(`away${name}`) }, { body: "{" }]);
  await both((name) => [batch(to(name))]);
  const more = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      Object.entries(await seen())
        .map(([name, n]) => [name, n - (before[name] ?? 0)] as const)
        .filter(([, n]) => n > 0),
    );
  // Before each of the four that go by the lane, one makes its producer known.
  const expected = {
    "/v1/messages 202": 6,
    "/v1/messages 503": 2,
    "/v1/messages 400": 2,
    "/v1/messages/batch 202": 2,
  };
  // The framework's answers count once they have left.
  await waitFor(async () => Object.values(await more()).reduce((sum, n) => sum + n, 0) >= 12, {
    what: "all to be counted",
  });
  expect(await more()).toEqual(expected);
  expect((await timed()) - timedBefore).toBe(10);
});

describe("requests it leaves to the framework", () => {
  test.each<[string, Made]>([
    ["invalid JSON", () => [{ body: `{"to":` }]],
    ["no UTF-8", () => [{ body: Buffer.from([0x22, 0xff, 0x22]) }]],
    ["no body", () => [{ body: "" }]],
    ["null", () => [{ body: "null" }]],
    ["nested too deep", () => [{ body: `{"data":${"[".repeat(300)}${"]".repeat(300)}}` }]],
    ["a number that is too large", (name) => [{ body: to(name, `,"x":1e999`) }]],
    ["an unknown field", (name) => [{ body: to(name, `,"x":1`) }]],
    ["no recipient", () => [{ body: `{"to":{},"data":1}` }]],
    [
      "data that is too large",
      (name) => [{ body: `{"to":{"user":"${name}"},"data":"${"x".repeat(65_600)}"}` }],
    ],
    ["a broadcast without the right", () => [{ body: `{"to":{"all":true},"data":"x"}` }]],
    [
      "a notification for a topic",
      (name) => [{ body: `{"to":{"topic":"${name}"},"data":1,"fallback":"never"}` }],
    ],
    ["too many at once", (name) => [batch(...Array.from({ length: 1_001 }, () => to(name)))]],
    ["a batch of nothing", () => [batch()]],
    ["a key without the scope", (name) => [{ as: "reader", body: to(name) }]],
    ["a key that may send nothing", (name) => [{ as: "silent", body: to(name) }]],
    ["a wrong secret", (name) => [{ body: to(name), headers: { authorization: "Bearer shop-send.wrong" } }]],
    ["no credential", (name) => [{ as: "nobody", body: to(name) }]],
    [
      "a credential beside a signature",
      (name) => [{ body: to(name), headers: { "petrel-key": "shop-send" } }],
    ],
    ["gzip", (name) => [{ body: gzipSync(to(name)), headers: { "content-encoding": "gzip" } }]],
    ["another type", (name) => [{ body: to(name), headers: { "content-type": "text/plain" } }]],
    ["a query", (name) => [{ path: "/v1/messages?x=1", body: to(name) }]],
    ["another path", (name) => [{ path: "/v1/messages/", body: to(name) }]],
    ["an older HTTP", (name) => [{ body: to(name), version: "1.0" }]],
    ["a request for leave", (name) => [{ body: to(name), headers: { expect: "100-continue" } }]],
    ["a wrong host", (name) => [{ body: to(name), headers: { host: "a b" } }]],
    [
      "chunks",
      (name) => [
        {
          body: `5\r\n${to(name).slice(0, 5)}\r\n0\r\n\r\n`,
          headers: { "transfer-encoding": "chunked" },
          framed: true,
        },
      ],
    ],
    [
      "a body in two pieces",
      (name) => [{ body: to(name).slice(0, 9), late: Buffer.from(to(name).slice(9)) }],
    ],
    ["a body that has not arrived", (name) => [{ body: "", late: Buffer.from(to(name)) }]],
  ])("%s", async (_what, make) => {
    const expected = await byFramework(make);
    expect(await byLane(make)).toEqual(expected);
  });
});

test("answers requests of one write in order, whichever way each takes", async () => {
  const { socket, next } = openConnection();
  send(socket, { body: to(newName()) });
  await next();
  const [a, b] = [newName(), newName()];
  socket.write(
    Buffer.concat([
      bytesOf({ body: `{"to":{"users":["${a}"]},"data":1}` }),
      bytesOf({ body: "{}" }),
      bytesOf({ body: `{"to":{"users":["${b}"]},"data":1}` }),
      bytesOf({ path: "/v1/nothing", body: "{}" }),
      bytesOf({ body: `{"to":{"topic":"x"},"data":1}` }),
    ]),
  );
  const answers = [await next(), await next(), await next(), await next(), await next()];
  expect(answers.map(({ status }) => status.split(" ")[1])).toEqual(["202", "400", "202", "404", "202"]);
  expect([answers[0]?.body.includes(a), answers[2]?.body.includes(b)]).toEqual([true, true]);
  socket.destroy();
});

test("a connection that ends before its body is complete costs nothing", async () => {
  const { socket, next } = openConnection();
  send(socket, { body: to(newName()) });
  await next();
  const name = newName();
  const whole = bytesOf({ body: to(name) });
  socket.end(whole.subarray(0, whole.length - 2));
  const other = openConnection();
  send(other.socket, { body: to(newName()) });
  expect((await other.next()).status).toContain("202");
  expect(await collect.inboxOf(name)).toEqual([]);
  other.socket.destroy();
});

test("a planned stop costs busy producers no error: an answer tells each to reconnect", async () => {
  const stopping = await openCollect();
  const authorization = await stopping.producer("shop", ["send"]);
  let sent = 0;
  const produce = async (): Promise<string | undefined> => {
    const { socket, next } = openConnection(stopping.address);
    for (;;) {
      send(socket, { body: `{"to":{"topic":"t"},"data":1}`, headers: { authorization } });
      const { status, headers } = await next();
      expect(status).toContain("202");
      sent++;
      if (headers["connection"] === "close") return headers["connection"];
    }
  };
  const producers = Array.from({ length: 5 }, produce);
  await waitFor(() => sent > 50, { what: "some messages" });
  const [ends] = await Promise.all([Promise.all(producers), stopping.close()]);
  expect(ends).toEqual(Array<string>(5).fill("close"));
});
