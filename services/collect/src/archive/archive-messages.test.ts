// Tests collect with a message archive: real Redis, a real server that speaks MongoDB's protocol.
// Guarantees: a message answered with 202 is in the archive, or in its spool; a refused one is not pending; one that
// Redis has forgotten is found; while the archive is down, its mode decides.
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OpenCollect, openCollect } from "../testing/open-collect.js";

const logger = createLogger({ service: "test", level: "silent" });

describe.skipIf(!hasFerretDb())("with an archive", () => {
  let server: TestFerretDb;
  let archive: MessageArchive;
  let collect: OpenCollect;
  let later: OpenCollect;

  const open = (required: boolean, more: Readonly<Record<string, string>> = {}): Promise<OpenCollect> =>
    openCollect({
      environment: {
        MESSAGE_ARCHIVE_URL: server.url(),
        ARCHIVE_REQUIRED: String(required),
        ARCHIVE_TIMEOUT_MS: "1000",
        INBOX_CAP: "2",
        ...more,
      },
    });
  beforeAll(async () => {
    server = await startFerretDb();
    const opened = await openArchive(
      { messageArchiveUrl: server.url(), archiveDays: 90, archiveTimeoutMs: 10_000 },
      logger,
    );
    if (opened === undefined) throw new Error("no archive");
    archive = opened;
    collect = await open(true);
    later = await open(false, { ARCHIVE_SPOOL_CAP: "3", INBOX_CAP: "100" });
  });
  afterAll(async () => {
    await collect?.close();
    await later?.close();
    await archive?.close();
    await server?.stop();
  });

  const send = (to: unknown, more: Readonly<Record<string, unknown>> = {}, by = collect) =>
    by.ask("POST", "/v1/messages", { body: { to, data: { n: 1 }, ...more } });
  const countOf = async (to: string, by: OpenCollect): Promise<number> => {
    const lines = (await by.metrics()).split("\n");
    const line = lines.find((text) => text.startsWith(`petrel_archive_rows_total{to="${to}"`));
    return Number(line?.split(" ").at(-1));
  };
  const idOf = ({ body }: { body: unknown }): string => (body as { id: string }).id;

  test("a message is archived before it is accepted, with everything needed to send it again", async () => {
    const answer = await send(
      { user: "ann" },
      {
        fallback: "always",
        priority: "high",
        notification: { title: "t", body: "b" },
        ttlSeconds: 60,
        collapseKey: "k",
      },
    );
    expect(answer.status).toBe(202);
    expect(await archive.find(idOf(answer))).toMatchObject({
      recipient: "ann",
      data: `{"n":1}`,
      fallback: "always",
      priority: "high",
      collapseKey: "k",
      ttlMs: 60_000,
      state: "pending",
    });
  });

  test("messages of lists, batches, topics and schedules are archived too", async () => {
    const { body } = await send({ users: ["l1", "l2"] });
    for (const { id } of (body as { results: { id: string }[] }).results)
      expect(await archive.find(id)).toBeDefined();
    expect(await archive.find(idOf(await send({ topic: "news" })))).toMatchObject({ recipient: "#news" });
    const deliverAt = new Date(Date.now() + 60_000).toISOString();
    expect(await archive.find(idOf(await send({ user: "l3" }, { deliverAt })))).toMatchObject({
      deliverAtMs: Date.parse(deliverAt),
      expiresAtMs: Date.parse(deliverAt) + 604_800_000,
    });
  });

  test("a refusal ends the row before it is answered; sent again and accepted, it is pending, with that content", async () => {
    await send({ user: "full" });
    await send({ user: "full" });
    const refused = await send({ user: "full" }, { idempotencyKey: "k1" });
    expect(refused.status).toBe(409);
    const rows = await archive.due(collect.keysOf("full").partition, Date.now() + 60_000, 100);
    expect(rows.filter(({ recipient }) => recipient === "full")).toHaveLength(2);
    await collect.store.redis.del(collect.keysOf("full").user("full"), collect.keysOf("full").inbox("full"));
    const accepted = await send({ user: "full" }, { idempotencyKey: "k1", data: { n: 2 } });
    expect(accepted.status).toBe(202);
    expect(await archive.find(idOf(accepted))).toMatchObject({ state: "pending", data: `{"n":2}` });
  });

  test("a repeat, and a key with other content, leave the first one's row as it is", async () => {
    const first = await send({ user: "rep" }, { idempotencyKey: "k" });
    expect((await send({ user: "rep" }, { idempotencyKey: "k" })).body).toEqual({
      id: idOf(first),
      duplicate: true,
    });
    expect((await send({ user: "rep" }, { idempotencyKey: "k", data: "other" })).status).toBe(422);
    expect(await archive.find(idOf(first))).toMatchObject({ state: "pending", data: `{"n":1}` });
  });

  test("a message that Redis has forgotten is described from the archive; one never accepted is not", async () => {
    const id = idOf(await send({ user: "old" }));
    const keys = collect.keysOf("old");
    await collect.store.redis.del(keys.record(id));
    expect((await collect.ask("GET", `/v1/messages/${id}`)).status).toBe(404);
    const endedAtMs = Date.UTC(2026, 0, 2);
    await archive.update([
      { id, state: "pushed", word: "apns", seq: 1, epoch: "e.1", endedAtMs, lookAtMs: null },
    ]);
    expect((await collect.ask("GET", `/v1/messages/${id}`)).body).toMatchObject({
      id,
      to: { user: "old" },
      state: "pushed",
      seq: 1,
      epoch: "e.1",
      timeline: [{ event: "accepted" }, { event: "pushed", channel: "apns", at: "2026-01-02T00:00:00.000Z" }],
    });
    await archive.update([{ id, state: "failed", word: "rejected" }]);
    expect((await collect.ask("GET", `/v1/messages/${id}`)).body).toMatchObject({
      state: "failed",
      reason: { code: "rejected" },
    });
  });

  test("a user's list begins in the archive and continues in the inbox, page by page", async () => {
    const by = later;
    const ids: string[] = [];
    for (let n = 1; n <= 6; n++) ids.push(idOf(await send({ user: "reader" }, { data: n }, by)));
    const keys = by.keysOf("reader");
    const [epoch = ""] = await by.store.redis.hmget(keys.user("reader"), "epoch");
    await by.store.redis.xtrim(keys.inbox("reader"), "MINID", "5-0");
    await archive.update(
      ids.slice(0, 4).map((id, i) => ({
        id,
        state: i === 2 ? ("cancelled" as const) : ("delivered" as const),
        seq: i + 1,
        epoch: epoch ?? "",
      })),
    );
    const list = async (query: string): Promise<{ seqs: number[]; nextAfter: number | null }> => {
      const { body } = await by.ask("GET", `/v1/users/reader/messages?${query}`);
      const { items, nextAfter } = body as {
        items: { seq: number; data: unknown }[];
        nextAfter: number | null;
      };
      expect(items.map(({ data }) => data)).toEqual(items.map(({ seq }) => seq));
      return { seqs: items.map(({ seq }) => seq), nextAfter };
    };
    expect(await list("")).toEqual({ seqs: [1, 2, 4, 5, 6], nextAfter: null });
    expect(await list("limit=2")).toEqual({ seqs: [1, 2], nextAfter: 2 });
    expect(await list("after=2&limit=2")).toEqual({ seqs: [4, 5], nextAfter: 5 });
    expect(await list("after=5")).toEqual({ seqs: [6], nextAfter: null });
  });

  test("erasing a person removes their rows and leaves a tombstone", async () => {
    const [theirs, other] = [idOf(await send({ user: "gone" })), idOf(await send({ user: "stays" }))];
    expect((await collect.ask("DELETE", "/v1/users/gone")).status).toBe(204);
    expect(await archive.find(theirs)).toBeUndefined();
    expect(await archive.find(other)).toBeDefined();
    expect([...(await archive.erasedUntil(["gone", "stays"])).keys()]).toEqual(["gone"]);
    const after = idOf(await send({ user: "gone" }));
    expect(await archive.find(after)).toBeDefined();
  });

  test("away and required: 503 at once, nothing is stored; not required: accepted, spooled, and counted beyond the cap", async () => {
    const spool = new ArchiveSpool<NewRow>({
      redis: later.store.redis,
      partitions: later.store.partitions,
      cap: 100,
    });
    server.signal("SIGKILL");
    const refused = await send({ user: "away" });
    expect(refused).toMatchObject({ status: 503, body: { error: { code: "PETREL_UNAVAILABLE" } } });
    expect(await collect.inboxOf("away")).toEqual([]);
    expect((await collect.ask("GET", "/v1/messages/p0_aaaaaaaaaaaaaaaaaaaaaa")).status).toBe(503);
    expect((await collect.ask("DELETE", "/v1/users/away")).status).toBe(503);

    const lostBefore = await countOf("lost", later);
    const answers = [];
    for (let n = 0; n < 5; n++) answers.push(await send({ user: "away" }, { data: n }, later));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    const { partition } = later.keysOf("away");
    const kept = await spool.read(partition, 10);
    expect(kept.map(({ kind, row }) => [kind, row.id])).toEqual(
      answers.slice(0, 3).map((answer) => ["write", idOf(answer)]),
    );
    expect((await countOf("lost", later)) - lostBefore).toBe(2);

    await server.startAgain();
    await expect.poll(async () => (await send({ user: "back" })).status, { timeout: 30_000 }).toBe(202);
    await expect
      .poll(async () => archive.find(idOf(await send({ user: "back" }, {}, later))), { timeout: 30_000 })
      .toBeDefined();
    expect((await later.ask("DELETE", "/v1/users/away")).status).toBe(204);
    expect(await spool.count(partition)).toBe(0);
  });
});
