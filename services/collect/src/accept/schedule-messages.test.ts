// Tests `deliverAt` as producers see it: sent, repeated, listed, cancelled, and promoted. Guarantees covered: no number
// before its time; a repetition is the same message before and after; a bad entry of a batch fails alone; a time in the
// past is never scheduled.
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import {
  findDueSchedules,
  isOfTopic,
  promoteMessages,
  promotePublications,
} from "@petrel/shared/redis/schedules/promote-schedules";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCollect, type Answer, type OpenCollect } from "../testing/open-collect.js";

let collect: OpenCollect;
beforeAll(async () => {
  collect = await openCollect({ environment: { MESSAGES_PER_USER_PER_SECOND: "0" } });
});
afterAll(() => collect.close());

const HOUR_MS = 3_600_000;
const inHours = (hours: number): string => new Date(Date.now() + hours * HOUR_MS).toISOString();
const send = (body: unknown): Promise<Answer> => collect.ask("POST", "/v1/messages", { body });
const idOf = ({ body }: Answer): string => (body as { id: string }).id;
const get = (id: string): Promise<Answer> => collect.ask("GET", `/v1/messages/${id}`);
const scheduledOf = async (user: string, query = ""): Promise<Record<string, unknown>> =>
  (await collect.ask("GET", `/v1/users/${user}/messages?state=scheduled${query}`)).body as Record<
    string,
    unknown
  >;

/** As the dispatcher does, once everything that waits is due. */
async function passTime(): Promise<void> {
  const { redis, scripts, partitions } = collect.store;
  for (const keys of partitions) {
    for (const member of await redis.zrange(keys.scheduled, "0", "-1"))
      await redis.zadd(keys.scheduled, 1, member);
    const lease = await takePartition(scripts, keys, "d", 60_000);
    const token = lease.outcome === "held" ? lease.token : "";
    const rules = {
      ackTimeoutMs: 10_000,
      inboxCap: 100,
      readyCap: 1_000,
      fallbackCap: 100,
      recordKeepMs: HOUR_MS,
      receiveLimit: 0,
      deadLettersCap: 10,
    };
    const { members } = await findDueSchedules(scripts, keys, 100);
    const [forTopics, forUsers] = [members.filter(isOfTopic), members.filter((one) => !isOfTopic(one))];
    if (forUsers.length > 0) await promoteMessages(scripts, keys, token, rules, forUsers);
    if (forTopics.length > 0) await promotePublications(scripts, keys, token, rules, forTopics);
  }
}

describe("a message with deliverAt", () => {
  test("is scheduled: shown with its time in UTC and its TTL from then, without a number", async () => {
    const answer = await send({
      to: { user: "ada" },
      data: { n: 1 },
      deliverAt: inHours(2),
      ttlSeconds: 60,
    });
    expect(answer).toMatchObject({ status: 202, body: { duplicate: false } });
    const { body, status } = await get(idOf(answer));
    expect(status).toBe(200);
    const { deliverAt, expiresAt } = body as { deliverAt: string; expiresAt: string };
    expect(body).toEqual({
      id: idOf(answer),
      to: { user: "ada" },
      state: "scheduled",
      acceptedAt: expect.any(String) as string,
      deliverAt,
      expiresAt,
      timeline: [{ at: expect.any(String) as string, event: "accepted" }],
    });
    expect(deliverAt).toMatch(/\.\d{3}Z$/);
    expect(Date.parse(expiresAt) - Date.parse(deliverAt)).toBe(60_000);
    expect(await collect.inboxOf("ada")).toEqual([]);
  });

  test("accepts any offset", async () => {
    const atMs = Math.ceil(Date.now() / 1_000) * 1_000 + HOUR_MS;
    const deliverAt = `${new Date(atMs + 5.5 * HOUR_MS).toISOString().slice(0, 19)}+05:30`;
    const { body } = await get(idOf(await send({ to: { user: "ada" }, data: 1, deliverAt })));
    expect(body).toMatchObject({ deliverAt: new Date(atMs).toISOString() });
  });

  test("in the past is never scheduled, and its TTL counts from acceptance", async () => {
    const deliverAt = "2001-01-01T00:00:00Z";
    const answer = await send({ to: { user: "past" }, data: 1, deliverAt, ttlSeconds: 60 });
    const { body } = await get(idOf(answer));
    expect(body).toMatchObject({ state: "queued", seq: 1 });
    expect(body).not.toHaveProperty("deliverAt");
    const { acceptedAt, expiresAt } = body as { acceptedAt: string; expiresAt: string };
    expect(Date.parse(expiresAt) - Date.parse(acceptedAt)).toBe(60_000);
  });

  test("to a list, a topic or all: each waits, with its recipient", async () => {
    const deliverAt = inHours(1);
    const list = await send({ to: { users: ["li.a", "li.b"] }, data: 1, deliverAt });
    const { results } = list.body as { results: { user: string; id: string; duplicate: boolean }[] };
    expect(results).toMatchObject([
      { user: "li.a", duplicate: false },
      { user: "li.b", duplicate: false },
    ]);
    const topic = await send({ to: { topic: "later" }, data: 1, deliverAt });
    const all = await send({ to: { all: true }, data: 1, deliverAt });
    for (const [id, to] of [
      [results[0]?.id ?? "", { user: "li.a" }],
      [results[1]?.id ?? "", { user: "li.b" }],
      [idOf(topic), { topic: "later" }],
      [idOf(all), { all: true }],
    ] as const) {
      const { body } = await get(id);
      expect(body).toMatchObject({ to, state: "scheduled", deliverAt });
      for (const field of ["seq", "epoch", "offset", "topic"]) expect(body).not.toHaveProperty(field);
    }
    const keys = collect.store.partitions[partitionOfTopic("later", collect.store.partitions.length)]!;
    expect(await collect.store.redis.exists(keys.topicLog("later"))).toBe(0);
    await passTime();
    const { body: published } = await get(idOf(topic));
    expect(published).toMatchObject({ state: "published", topic: "later", offset: 1 });
    const log = (await collect.ask("GET", "/v1/topics/later/messages")).body;
    const { items } = log as { readonly items: readonly { readonly at: string }[] };
    const { acceptedAt, timeline } = published as { readonly acceptedAt: string; readonly timeline: unknown };
    expect(timeline).toEqual([
      { at: acceptedAt, event: "accepted" },
      { at: items[0]?.at, event: "published" },
    ]);
    expect(items[0]?.at).not.toBe(acceptedAt);
    expect((await get(idOf(all))).body).toMatchObject({
      state: "published",
      topic: "$all",
      to: { all: true },
    });
  });

  test("in a batch: a bad entry fails alone", async () => {
    const { status, body } = await collect.ask("POST", "/v1/messages/batch", {
      body: {
        messages: [
          { to: { user: "ba" }, data: 1, deliverAt: inHours(1) },
          { to: { user: "ba" }, data: 2, deliverAt: "2026-02-31T00:00:00Z" },
          { to: { user: "ba" }, data: 3, deliverAt: inHours(31 * 24) },
          { to: { user: "ba" }, data: 4 },
        ],
      },
    });
    expect(status).toBe(202);
    expect(body).toMatchObject({
      results: [
        { duplicate: false },
        { error: { status: 400, details: { field: "body/deliverAt" } } },
        { error: { status: 400, details: { field: "body/deliverAt" } } },
        { duplicate: false },
      ],
    });
    expect((await collect.inboxOf("ba")).map(({ data }) => data)).toEqual(["4"]);
    expect((await scheduledOf("ba"))["items"]).toMatchObject([{ data: 1 }]);
  });
});

describe("the idempotency key of a message with deliverAt", () => {
  test("identifies one message, before its time and after", async () => {
    const deliverAt = inHours(1);
    const body = { to: { user: "key" }, data: 1, deliverAt, idempotencyKey: "k1" };
    const first = await send(body);
    expect(first.body).toMatchObject({ duplicate: false });
    // The same moment, written differently.
    const shifted = `${new Date(Date.parse(deliverAt) + HOUR_MS).toISOString().slice(0, -1)}+01:00`;
    for (const again of [body, { ...body, deliverAt: shifted }])
      expect((await send(again)).body).toEqual({ id: idOf(first), duplicate: true });
    await passTime();
    expect((await send(body)).body).toEqual({ id: idOf(first), duplicate: true });
    expect(await collect.inboxOf("key")).toHaveLength(1);
    expect((await get(idOf(first))).body).toMatchObject({ state: "queued", seq: 1 });
  });

  test("with another time, none, or other data: 422", async () => {
    const body = { to: { user: "mis" }, data: 1, deliverAt: inHours(1), idempotencyKey: "k1" };
    await send(body);
    const { deliverAt: _none, ...now } = body;
    for (const other of [{ ...body, deliverAt: inHours(2) }, now, { ...body, data: 2 }])
      expect(await send(other)).toMatchObject({ status: 422 });
    expect(await collect.inboxOf("mis")).toEqual([]);
    // And the other way round: an immediate message is not rescheduled.
    await send({ to: { user: "mis" }, data: 1, idempotencyKey: "k2" });
    expect(await send({ ...body, idempotencyKey: "k2" })).toMatchObject({ status: 422 });
    expect((await scheduledOf("mis"))["items"]).toHaveLength(1);
  });

  test("still identifies it after it was cancelled", async () => {
    const body = { to: { user: "can" }, data: 1, deliverAt: inHours(1), idempotencyKey: "k1" };
    const id = idOf(await send(body));
    expect((await collect.ask("DELETE", `/v1/messages/${id}`)).status).toBe(204);
    expect((await collect.ask("DELETE", `/v1/messages/${id}`)).status).toBe(204);
    expect((await send(body)).body).toEqual({ id, duplicate: true });
    expect((await get(id)).body).toMatchObject({ state: "cancelled" });
    await passTime();
    expect(await collect.inboxOf("can")).toEqual([]);
  });
});

describe("the list of what is scheduled for a user", () => {
  test("is sorted by time, in pages, with what was sent and nothing more", async () => {
    for (const hours of [5, 1, 4, 2, 3])
      await send({ to: { user: "list" }, data: { hours }, deliverAt: inHours(hours), ttlSeconds: 3_600 });
    await send({ to: { user: "list" }, data: "now" });
    await send({ to: { user: "other" }, data: "other", deliverAt: inHours(1) });
    const seen: unknown[] = [];
    let cursor = "";
    do {
      const page = await scheduledOf("list", `&limit=2${cursor}`);
      const items = page["items"] as Record<string, unknown>[];
      expect(items.length).toBeLessThanOrEqual(2);
      for (const item of items) {
        expect(Object.keys(item)).toEqual(["id", "deliverAt", "expiresAt", "data"]);
        expect(Date.parse(item["expiresAt"] as string) - Date.parse(item["deliverAt"] as string)).toBe(
          HOUR_MS,
        );
        seen.push((item["data"] as { hours: number }).hours);
      }
      const next = page["nextCursor"] as string | null;
      cursor = next === null ? "" : `&cursor=${next}`;
    } while (cursor !== "");
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    expect(await scheduledOf("nobody")).toEqual({ items: [], nextCursor: null });
  });

  test("needs the scope read", async () => {
    const as = await collect.producer("shop", ["send"]);
    expect(await collect.ask("GET", "/v1/users/a/messages?state=scheduled", { as })).toMatchObject({
      status: 403,
    });
  });
});

describe("beyond SCHEDULES_CAP", () => {
  let small: OpenCollect;
  beforeAll(async () => void (small = await openCollect({ environment: { SCHEDULES_CAP: "2" } })));
  afterAll(() => small.close());
  const full = { code: "PETREL_INBOX_FULL", retryable: true };

  test("messages to a user, a topic and everyone are refused, each alone; immediate ones are not", async () => {
    const deliverAt = inHours(1);
    const sendSmall = (body: object): Promise<Answer> =>
      small.ask("POST", "/v1/messages", { body: { data: 1, ...body } });
    for (const to of [{ user: "ada" }, { topic: "news" }, { all: true }]) {
      for (const status of [202, 202, 409]) expect((await sendSmall({ to, deliverAt })).status).toBe(status);
      expect(await sendSmall({ to, deliverAt })).toMatchObject({
        body: { error: { ...full, details: { scheduled: true } } },
      });
      expect((await sendSmall({ to })).status).toBe(202);
    }
    expect(await sendSmall({ to: { users: ["bob", "ada"] }, deliverAt })).toMatchObject({
      status: 409,
      body: { error: { ...full, details: { scheduled: true, full: ["ada"], stored: [{ user: "bob" }] } } },
    });
    const messages = ["ada", "carol"].map((user) => ({ to: { user }, data: 1, deliverAt }));
    expect(await small.ask("POST", "/v1/messages/batch", { body: { messages } })).toMatchObject({
      status: 202,
      body: { results: [{ error: { ...full, status: 409 } }, { duplicate: false }] },
    });
  });
});
