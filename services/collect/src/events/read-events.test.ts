// Tests GET /v1/events: pages, long polls and streams, on a real Redis.
// Guarantees: each sentence of the contract; however pages are cut, every event once and in order; nothing runs when
// nobody waits.
import { get, type IncomingMessage } from "node:http";
import { eventTypes, type EventType } from "@petrel/shared/protocol/events/event-types";
import { encodeStoredEvent } from "@petrel/shared/protocol/events/stored-event";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openCollect, type OpenCollect } from "../testing/open-collect.js";

interface Page {
  readonly items: readonly { readonly id: string; readonly type: string; readonly message?: string }[];
  readonly nextAfter: string;
  readonly gap: boolean;
}

let collect: OpenCollect;
beforeAll(async () => {
  const written = eventTypes.filter((type) => type !== "topic.vacated");
  collect = await openCollect({ environment: { EVENTS: written.join(",") } });
});
beforeEach(async () => {
  const { redis, partitions } = collect.store;
  await redis.del(...partitions.flatMap(({ events, eventLog }) => [events, eventLog]));
});
afterAll(() => collect.close());

let number = 0;
/** @returns the message that it is about */
async function add(partition: number, type: EventType = "message.pushed"): Promise<string> {
  const message = `m${number++}`;
  const text = encodeStoredEvent({
    who: `u${partition}`,
    seq: "1",
    epoch: "e.1",
    type,
    atMs: Date.now(),
    words: [type.startsWith("user.") ? "7" : message, "500", "apns", ""],
    trace: undefined,
  });
  await collect.store.redis.xadd(collect.store.partitions[partition]?.events ?? "", "*", "m", text);
  return message;
}

const ask = (query = "", headers: Record<string, string> = {}) =>
  collect.ask("GET", `/v1/events${query}`, { headers });

async function read(query = ""): Promise<Page> {
  const { status, body } = await ask(query);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Page;
}
const messagesOf = ({ items }: Page): (string | undefined)[] => items.map(({ message }) => message);

describe("a page", () => {
  test("of nothing has a cursor to continue from", async () => {
    const page = await read();
    expect(page).toEqual({ items: [], nextAfter: expect.any(String), gap: false });
    const message = await add(1);
    expect(messagesOf(await read(`?after=${page.nextAfter}`))).toEqual([message]);
  });

  test("begins at the oldest event, or now; one cursor covers all partitions", async () => {
    const [one, two] = [await add(0), await add(1)];
    const { nextAfter } = await read("?after=now");
    const three = await add(0);
    expect(messagesOf(await read())).toEqual([one, two, three]);
    expect(messagesOf(await read(`?after=${nextAfter}`))).toEqual([three]);
  });

  test("is full if there are enough events; together the pages have each event once, in order", async () => {
    const sent: string[][] = [[], []];
    for (let i = 0; i < 40; i++) sent[i % 4 === 0 ? 1 : 0]?.push(await add(i % 4 === 0 ? 1 : 0));
    for (const limit of [1, 3, 7, 39, 40, 1_000]) {
      const all: string[] = [];
      let after = "";
      for (;;) {
        const page = await read(`?limit=${limit}${after}`);
        all.push(...messagesOf(page).map(String));
        expect(page.gap).toBe(false);
        if (page.items.length === 0) break;
        expect(page.items.length).toBe(Math.min(limit, page.items.length + 40 - all.length));
        after = `&after=${page.nextAfter}`;
      }
      expect(all).toHaveLength(40);
      for (const ofPartition of sent) {
        expect(all.filter((message) => ofPartition.includes(message))).toEqual(ofPartition);
      }
    }
  });

  test("of some types skips the others, however many there are", async () => {
    for (let i = 0; i < 250; i++) await add(0);
    const failed = await add(0, "message.failed");
    const online = await add(1, "user.online");
    const page = await read("?types=message.failed,user.online&limit=1");
    expect(page.items).toHaveLength(1);
    const rest = await read(`?types=message.failed,user.online&after=${page.nextAfter}`);
    expect([...messagesOf(page), ...rest.items.map(({ type }) => type)].length).toBe(2);
    expect(new Set([...page.items, ...rest.items].map(({ type }) => type))).toEqual(
      new Set(["message.failed", "user.online"]),
    );
    expect(failed).not.toBe(online);
  });

  test("reports a gap once", async () => {
    const { nextAfter } = await read();
    await add(0);
    const { redis, partitions } = collect.store;
    const [first] = partitions;
    const gone = (await redis.xrange(first?.events ?? "", "-", "+"))[0]?.[0] ?? "";
    await redis.xtrim(first?.events ?? "", "MAXLEN", 0);
    await redis.hset(first?.eventLog ?? "", "trimmed", gone);
    const message = await add(0);
    const page = await read(`?after=${nextAfter}`);
    expect(page.gap).toBe(true);
    expect(messagesOf(page)).toEqual([message]);
    expect((await read(`?after=${page.nextAfter}`)).gap).toBe(false);
    expect((await read()).gap).toBe(false);
  });

  test.each([
    ["an invalid cursor", "?after=nonsense"],
    ["an empty one", "?after="],
    ["a truncated one", "CUT"],
    ["an unknown type", "?types=message.read"],
    ["no type", "?types="],
    ["a type with a space", "?types=message.failed,%20message.pushed"],
    ["a type that is not written", "?types=topic.vacated"],
    ["a limit of nothing", "?limit=0"],
    ["a limit that is too high", "?limit=1001"],
    ["a wait that is too long", "?waitSeconds=31"],
    ["a wait that is not a number", "?waitSeconds=a"],
    ["an unknown parameter", "?since=1"],
  ])("refuses %s", async (_what, query) => {
    const cut = `?after=${(await read()).nextAfter.slice(0, -1)}`;
    const { status, body } = await ask(query === "CUT" ? cut : query);
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: { code: "PETREL_INVALID_REQUEST", retryable: false } });
  });

  test("needs the scope `read`", async () => {
    const as = await collect.producer("sender", ["send"]);
    expect((await collect.ask("GET", "/v1/events", { as })).status).toBe(403);
    expect((await collect.ask("GET", "/v1/events", { as: undefined })).status).toBe(401);
  });
});

describe("a long poll", () => {
  test("ends at the first event, and the process polls only while someone waits", async () => {
    const { nextAfter } = await read();
    const waiting = read(`?after=${nextAfter}&waitSeconds=30`);
    await waitFor(async () => (await looks()) > 2, { what: "looks" });
    const message = await add(1);
    expect(messagesOf(await waiting)).toEqual([message]);
    const after = await looks();
    await read();
    await new Promise((resolve) => setTimeout(resolve, 250));
    // (The reads of this test: one a partition.)
    expect((await looks()) - after).toBeLessThanOrEqual(2 * 2);
  });

  test("skips other types meanwhile, and ends at its time with a cursor", async () => {
    const { nextAfter } = await read();
    const waiting = read(`?after=${nextAfter}&types=message.failed&waitSeconds=1`);
    await add(0);
    const page = await waiting;
    expect(page).toMatchObject({ items: [], gap: false });
    expect(page.nextAfter).not.toBe(nextAfter);
  });
});

/** How often events have been read so far, by the script's calls. */
async function looks(): Promise<number> {
  const stats = await collect.store.redis.info("commandstats");
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

interface Block {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
}

function readBlock(text: string): Block {
  const lines = text.split("\n").map((line) => {
    const at = line.indexOf(": ");
    return [line.slice(0, at), line.slice(at + 2)] as const;
  });
  return Object.fromEntries(lines);
}

interface Stream {
  readonly response: IncomingMessage;
  readonly text: () => string;
  readonly blocks: () => readonly Block[];
  readonly isOver: () => boolean;
  readonly close: () => void;
}

async function openStream(query = "", headers: Record<string, string> = {}): Promise<Stream> {
  const authorization = await collect.producer(`reader${number++}`, ["read"]);
  let text = "";
  let isOver = false;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(
      `${collect.address}/v1/events${query}`,
      { headers: { authorization, accept: "text/event-stream", ...headers } },
      resolve,
    ).on("error", reject);
  });
  response.setEncoding("utf8");
  const blocks: Block[] = [];
  let rest = "";
  response.on("data", (chunk: string) => {
    text += chunk;
    const whole = (rest + chunk).split("\n\n");
    rest = whole.pop() ?? "";
    blocks.push(...whole.filter((block) => block.includes("data: ")).map(readBlock));
  });
  response.on("close", () => (isOver = true));
  return {
    response,
    text: () => text,
    isOver: () => isOver,
    blocks: () => blocks,
    close: () => response.destroy(),
  };
}
const dataOf = (stream: Stream) =>
  stream.blocks().map(({ data }) => (JSON.parse(data ?? "") as { message?: string }).message);

describe("a stream", () => {
  test("has existing and new events, each followed by its cursor, and resumes from any of them", async () => {
    const sent = [await add(0), await add(1)];
    const stream = await openStream();
    expect(stream.response.headers["content-type"]).toMatch(/^text\/event-stream/);
    await waitFor(() => stream.blocks().length === 2, { what: "the first two" });
    sent.push(await add(0));
    await waitFor(() => stream.blocks().length === 3, { what: "the third" });
    expect(dataOf(stream)).toEqual(sent);
    for (const block of stream.blocks()) expect(Object.keys(block)).toEqual(["id", "data"]);
    for (const [i, { id = "" }] of stream.blocks().entries()) {
      expect(messagesOf(await read(`?after=${id}`))).toEqual(sent.slice(i + 1));
    }
    stream.close();
    const again = await openStream("?after=now", { "last-event-id": stream.blocks()[0]?.id ?? "" });
    await waitFor(() => again.blocks().length === 2, { what: "the rest" });
    expect(dataOf(again)).toEqual(sent.slice(1));
    again.close();
  });

  test("tells a client that begins now where to resume, before the first event", async () => {
    const stream = await openStream("?after=now");
    // Not the comment that comes every 15 s.
    await waitFor(() => stream.text() !== "", { what: "a comment", deadlineMs: 12_000 });
    const id = /^:\nid: (\S+)\n\n$/.exec(stream.text())?.[1];
    stream.close();
    const message = await add(0);
    expect(messagesOf(await read(`?after=${id}`))).toEqual([message]);
  });

  test("reports a gap once", async () => {
    const { nextAfter } = await read();
    await add(0);
    const [first] = collect.store.partitions;
    await collect.store.redis.del(first?.events ?? "", first?.eventLog ?? "");
    const message = await add(0);
    const stream = await openStream(`?after=${nextAfter}`);
    await waitFor(() => stream.blocks().length === 2, { what: "the gap and the event" });
    const [gap, event] = stream.blocks();
    expect(gap).toMatchObject({ event: "gap", data: "{}" });
    expect(JSON.parse(event?.data ?? "")).toMatchObject({ message });
    expect((await read(`?after=${gap?.id}`)).gap).toBe(false);
    stream.close();
  });

  test("refuses parameters without meaning for it, and a bad cursor", async () => {
    const accept = { accept: "text/event-stream" };
    for (const query of ["?limit=5", "?waitSeconds=1", "?after=nonsense", "?types=x"]) {
      expect((await ask(query, accept)).status, query).toBe(400);
    }
    expect((await ask("", { ...accept, "last-event-id": "nonsense" })).status).toBe(400);
  });

  test("never reads ahead of its reader", async () => {
    const [first] = collect.store.partitions;
    const text = encodeStoredEvent({
      who: "u0",
      seq: "1",
      epoch: "e.1",
      type: "message.failed",
      atMs: Date.now(),
      words: ["m", "500", "rejected", "x".repeat(9_000)],
      trace: undefined,
    });
    const COUNT = 4_000;
    for (let i = 0; i < COUNT; i += 1_000) {
      const pipeline = collect.store.redis.pipeline();
      for (let n = 0; n < 1_000; n++) pipeline.xadd(first?.events ?? "", "*", "m", text);
      await pipeline.exec();
    }
    const stream = await openStream();
    stream.response.pause();
    const before = await looks();
    // Until it stands still: the sockets' buffers are full.
    let last = -1;
    await waitFor(
      async () => {
        const now = await looks();
        const isStill = now === last;
        last = now;
        return isStill;
      },
      { what: "a standstill", everyMs: 300 },
    );
    // 100 events of 9 KB a page, three calls each: all would take 120.
    expect(last - before).toBeLessThan(90);
    stream.response.resume();
    await waitFor(() => stream.blocks().length === COUNT, { what: "all of them", deadlineMs: 60_000 });
    stream.close();
  });

  test("ends with its process, as does a long poll", async () => {
    const other = await openCollect({ environment: { EVENTS: "all" } });
    const former = collect;
    collect = other;
    try {
      const stream = await openStream("?after=now");
      const { nextAfter } = await read("?after=now");
      const polling = read(`?after=${nextAfter}&waitSeconds=30`);
      await waitFor(() => stream.text() !== "", { what: "the stream's beginning" });
      await other.close();
      expect(await polling).toMatchObject({ items: [] });
      await waitFor(() => stream.isOver(), { what: "the stream's end" });
    } finally {
      collect = former;
    }
  });
});
