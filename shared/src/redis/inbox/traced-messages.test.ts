// Tests that a sampled message carries its trace wherever the scripts put it, and that the trace changes nothing else.
// Guarantees: on a real Redis; a release that does not know traces reads what it would read without one.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import { decodeNodeMessage } from "../../protocol/messages/node-messages.js";
import { decodeReadyMessage } from "../../protocol/messages/stored-message.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { readFallback, promoteRetries } from "../fallback/fallback-queue.js";
import type { PartitionKeys } from "../keys.js";
import { offerUsers } from "../wake/offer-users.js";
import { readInbox } from "./read-inbox.js";
import { connectRoute } from "../routes/connect-routes.js";
import { settleFallback } from "../fallback/settle-fallback.js";
import { wakeUsers } from "../wake/wake-users.js";

const RULES = { absenceInMs: 0, settleMs: 0, confirmMs: 1_000 };
const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const notification = '{"title":"t"}';

let store: OpenStore;
let keys: PartitionKeys;
let token: string;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(async () => {
  await store.clear();
  token = await store.own();
});
afterAll(() => store.close());

async function accept(id: string, parts: Partial<MessageToAccept> = {}): Promise<void> {
  const result = await store.accepter({ handOver: "accept" }).accept(message({ id, notification, ...parts }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
}

async function fallbackTexts(): Promise<string[]> {
  const entries = await store.redis.xrange(keys.fallback("normal"), "-", "+");
  return entries.map(([, fields]) => fields[1] ?? "");
}

test("is in the inbox, in ready, and in what is published to a node", async () => {
  await accept("m1", { trace, userId: "u1" });
  await accept("m2", { userId: "u1" });
  const { messages: page } = await readInbox(store.scripts, keys, "u1", 0, {
    maxEntries: 10,
    maxBytes: 100_000,
  });
  expect(page.map(({ id, trace: its }) => [id, its])).toEqual([
    ["m1", trace],
    ["m2", undefined],
  ]);
  const ready = await store.redis.xrange(keys.ready, "-", "+");
  expect(ready.map(([, fields]) => decodeReadyMessage(fields[1] ?? "").trace)).toEqual([trace, undefined]);

  const heard = await store.listen(`${keys.channel}n1`);
  const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
  const limits = {
    leaseMs: 60_000,
    maxConnectionsPerUser: 5,
    whenFull: "evict",
    ackTimeoutMs: 10_000,
  } as const;
  await connectRoute(store.scripts, keys, route, limits);
  await accept("m3", { trace, userId: "u1", data: '"d"' });
  await waitFor(() => heard.length === 1, { what: "the message" });
  expect(decodeNodeMessage(heard[0] ?? "")).toMatchObject({ envelopes: [{ id: "m3", data: '"d"', trace }] });
});

test("a release without it reads the same fields", async () => {
  await accept("m1", { trace, data: '"d"' });
  await accept("m2", { data: '"d"' });
  const [traced = "", plain = ""] = (await store.redis.xrange(keys.inbox("u1"), "-", "+")).map(
    ([, fields]) => fields[1] ?? "",
  );
  const [, , , , ...ofTraced] = traced.split("\t");
  const [, , , , ...ofPlain] = plain.split("\t");
  expect(ofTraced).toEqual([...ofPlain, trace]);
  await offerUsers(store.scripts, keys, token, RULES, [], ["u1"]);
  const [tracedEntry = [], plainEntry = []] = (await fallbackTexts()).map((text) =>
    text.split("\t").slice(6),
  );
  expect(tracedEntry).toEqual([...plainEntry, trace]);
});

test("offered by a hand-over: the entry has it, and the caller gets it", async () => {
  await accept("m1", { trace });
  await accept("m2");
  await accept("m3", { trace });
  const traced = [
    { id: "m1", trace },
    { id: "m3", trace },
  ];
  expect(await offerUsers(store.scripts, keys, token, RULES, [], ["u1", "nobody"])).toEqual([
    { userId: "u1", outcome: "offered", offered: 3, traced },
    { userId: "nobody", outcome: "done", offered: 0 },
  ]);
  expect((await fallbackTexts()).map((text) => decodeFallbackEntry(text).trace)).toEqual([
    trace,
    undefined,
    trace,
  ]);
});

test("offered by a wake: likewise", async () => {
  await accept("m1", { trace });
  await store.redis.zadd(keys.due, await store.nowMs(), "u1");
  expect(
    await wakeUsers(store.scripts, keys, token, { ...RULES, ackTimeoutMs: 10_000 }, ["u1"]),
  ).toMatchObject([{ outcome: "offline", offered: 1, nodes: [], traced: [{ id: "m1", trace }] }]);
});

test("pushed always: the entry has it, and still no data", async () => {
  await accept("m1", { trace, fallback: "always", data: '"secret"' });
  await accept("m2", { fallback: "always", data: '"secret"' });
  const texts = await fallbackTexts();
  expect(texts.join()).not.toContain("secret");
  expect(texts.map(decodeFallbackEntry)).toMatchObject([
    { id: "m1", notification, trace },
    { id: "m2", notification },
  ]);
  expect(decodeFallbackEntry(texts[1] ?? "").trace).toBeUndefined();
});

test("a retry keeps it", async () => {
  await accept("m1", { trace });
  await offerUsers(store.scripts, keys, token, RULES, [], ["u1"]);
  const source = { keys, priority: "normal" } as const;
  const [entry] = await readFallback(store.scripts, source, "w", 1);
  if (entry === undefined) throw new Error("no entry");
  const settlement = { outcome: "retry", delayMs: 0 } as const;
  await settleFallback(store.scripts, entry, settlement, { attempts: 1, notes: [], deadLettersCap: 10 });
  await waitFor(async () => (await promoteRetries(store.scripts, keys, 10)).promoted === 1, { what: "it" });
  const [again] = await readFallback(store.scripts, source, "w", 1);
  expect(again).toMatchObject({ attempts: 1, message: { id: "m1", trace } });
});

describe("invalid traces", () => {
  test.each([
    ["a string as long as one", `"${"x".repeat(53)}"`],
    ["a string that contains one", `"${trace.slice(0, 53)}"`],
    ["a short one", "1"],
  ])("%s", async (_name, data) => {
    await accept("m1", { data });
    await accept("m2", { data, fallback: "always" });
    expect(await offerUsers(store.scripts, keys, token, RULES, [], ["u1"])).toEqual([
      { userId: "u1", outcome: "offered", offered: 1 },
    ]);
    for (const text of await fallbackTexts()) {
      expect(text.split("\t")).toHaveLength(8);
      expect(decodeFallbackEntry(text)).toMatchObject({ notification });
    }
  });
});
