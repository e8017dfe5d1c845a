// Tests the archiver on real Redis and a real server that speaks MongoDB's protocol.
// Guarantees: ends reach the archive; the spool drains in order; what Redis lost is re-driven, once, with its id and in
// order, and nothing that had ended or was erased.
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { ArchivedRow, MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import { systemClock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { decodeMessageRecord } from "@petrel/shared/protocol/messages/stored-message";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { readInbox } from "@petrel/shared/redis/inbox/read-inbox";
import { keepTime } from "@petrel/shared/redis/partitions/keep-time";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import { newRow } from "@petrel/shared/testing/archive/new-row";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { message, type OpenStore, openStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { Archiver } from "./archiver.js";
import { createArchiverMetrics } from "./archiver-metrics.js";
import { openArchiver } from "./open-archiver.js";

const logger = createLogger({ service: "test", level: "silent" });
/** Rows this old are due at once. */
const AGE_MS = 10_000;

describe.skipIf(!hasFerretDb())("the archiver", () => {
  let server: TestFerretDb;
  let store: OpenStore;
  let archive: MessageArchive;
  let archiver: Archiver;
  let registry: Registry;
  let count = 0;

  beforeAll(async () => {
    server = await startFerretDb();
    store = await openStore();
  });
  afterAll(async () => {
    await store?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    await store.clear();
    const opened = await openArchive(
      { messageArchiveUrl: server.url(`t${++count}`), archiveDays: 90, archiveTimeoutMs: 10_000 },
      logger,
    );
    if (opened === undefined) throw new Error("no archive");
    archive = opened;
    await begin();
  });
  afterEach(async () => {
    await archiver.stop();
    await archive.close();
  });

  /** An archiver that owns the first partition. */
  async function begin(by: MessageArchive = archive): Promise<void> {
    registry = new Registry();
    const token = await store.own();
    await keepTime(store.scripts, store.keys, token);
    const term = { endsAtMs: Number.MAX_SAFE_INTEGER, serverUntilMs: Number.MAX_SAFE_INTEGER };
    const held = new HeldPartition(store.keys, token, term, systemClock);
    archiver = openArchiver({
      config: {
        ackTimeoutMs: 10_000,
        inboxCap: 10_000,
        readyCap: 10_000,
        fallbackCap: 10_000,
        recordKeepHours: 25,
        redrivePerSecond: 10_000,
      },
      scripts: store.scripts,
      partitions: store.partitions,
      owner: { open: [held] },
      archive: by,
      registry,
      logger,
    });
    archiver.start();
  }

  async function accept(userId: string, data: string, archived = true): Promise<NewRow> {
    const acceptedAtMs = Date.now() - AGE_MS;
    const expiresAtMs = acceptedAtMs + 3_600_000;
    const row = newRow({ recipient: userId, data, ttlMs: 3_600_000, acceptedAtMs, expiresAtMs });
    if (archived) await archive.write([row]);
    await store.accepter().accept(message({ userId, id: row.id, data }));
    return row;
  }
  /** The archive, with a different answer to one query. */
  const withErasedUntil = (erasedUntil: MessageArchive["erasedUntil"]): MessageArchive =>
    new Proxy(archive, {
      get: (target, name) => {
        const value: unknown = name === "erasedUntil" ? erasedUntil : Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  const until = (id: string, expected: Partial<ArchivedRow>) =>
    expect.poll(() => archive.find(id), { timeout: 60_000 }).toMatchObject(expected);
  const inbox = async (userId: string): Promise<string[]> => {
    const page = { maxEntries: 1_000, maxBytes: 1e9 };
    return (await readInbox(store.scripts, store.keys, userId, 0, page)).messages.map(({ data }) => data);
  };
  const searched = async (): Promise<unknown> =>
    expect
      .poll(() => archive.progress(0), { timeout: 60_000 })
      .toMatchObject({ isUnderWay: false, generation: expect.stringContaining(":") as unknown });

  test("writes numbers and ends; open messages stay open", async () => {
    const first = await accept("u1", "1");
    const second = await accept("u1", "2");
    await until(second.id, { state: "queued", seq: 2 });
    await store.redis.hset(store.keys.user("u1"), "acked", 1, "ackedAt", Date.now());
    await archive.update([{ id: first.id, lookAtMs: 0 }]);
    await until(first.id, { state: "delivered", seq: 1, lookAtMs: undefined });
    await until(second.id, { state: "queued" });
  });

  test("ignores what was never accepted and does not send it again", async () => {
    await searched();
    const row = newRow({ acceptedAtMs: Date.now() + 600_000 });
    await archive.write([row]);
    await archive.update([{ id: row.id, lookAtMs: 0 }]);
    await expect
      .poll(async () => (await archive.find(row.id))?.missingSinceMs ?? 0, { timeout: 60_000 })
      .toBeGreaterThan(0);
    await archive.update([{ id: row.id, missingSinceMs: 1, lookAtMs: 0 }]);
    await until(row.id, { state: "refused", lookAtMs: undefined });
    expect(await inbox("ada")).toEqual([]);
  });

  test("after Redis has lost everything, stores open messages again, in order, with their ids", async () => {
    await archiver.stop();
    const rows: NewRow[] = [];
    for (let n = 0; n < 90; n++) rows.push(await accept(`u${n % 3}`, String(n)));
    await store.redis.hset(store.keys.user("u0"), "acked", 15, "ackedAt", Date.now());
    await begin();
    await searched();
    await until(rows[42]?.id ?? "", { state: "delivered" });
    await until(rows[88]?.id ?? "", { state: "queued" });
    const erased = rows[89];
    await archive.noteErasure("u2", Date.now());
    await archiver.stop();

    await store.redis.flushall();
    // As after a restart.
    await store.redis.call("DEBUG", "CHANGE-REPL-ID");
    const before = (await archive.progress(0))?.generation;
    await begin();
    await expect
      .poll(async () => (await archive.progress(0))?.generation, { timeout: 60_000 })
      .not.toBe(before);
    await searched();
    await until(rows[88]?.id ?? "", { state: "queued", isLost: false });
    const all = [0, 1].map((user) => rows.filter((_, n) => n % 3 === user).map(({ data }) => data));
    expect(await inbox("u0")).toEqual(all[0]?.slice(15));
    expect(await inbox("u1")).toEqual(all[1]);
    expect(await inbox("u2")).toEqual([]);
    expect(await archive.find(erased?.id ?? "")).toBeUndefined();
    expect(await archive.progress(0)).toMatchObject({ driven: 45 });
    expect(await store.redis.exists(store.keys.record(rows[1]?.id ?? ""))).toBe(1);
  });

  test("a topic's scheduled message waits again, or is published soon; once, with its id", async () => {
    const [early, late] = [Date.now() - AGE_MS, Date.now() + 3_600_000].map((deliverAtMs) =>
      newRow({
        recipient: "#news",
        data: `"at ${deliverAtMs}"`,
        history: { size: 5, ageMs: 60_000, bytes: 1_000 },
        fingerprint: "f",
        acceptedAtMs: Date.now() - 2 * AGE_MS,
        deliverAtMs,
        expiresAtMs: deliverAtMs + 600_000,
      }),
    );
    if (early === undefined || late === undefined) throw new Error("no rows");
    const published = newRow({ recipient: "#news", acceptedAtMs: Date.now() - AGE_MS });
    await searched();
    // That search's round also looks at what is due: these come after it, or it would send them again itself.
    await archiver.stop();
    await archive.write([early, late, published]);
    await archive.update([{ id: late.id, state: "scheduled" }]);
    await archive.askRedrive([0], Date.now());
    await begin();
    await expect.poll(async () => (await archive.progress(0))?.driven, { timeout: 60_000 }).toBe(2);
    const schedules = store.keys.schedulesOf("#news");
    const [, soonMs, , lateMs, ...more] = await store.redis.zrange(schedules, "0", "-1", "WITHSCORES");
    expect([Number(lateMs), more]).toEqual([late.deliverAtMs, []]);
    expect(Number(soonMs)).toBeLessThan(Date.now() + 60_000);
    await until(late.id, { state: "scheduled", isLost: false, missingSinceMs: undefined });
    // A second search finds them.
    const askedAtMs = Date.now() + 1;
    await archive.askRedrive([0], askedAtMs);
    await expect
      .poll(async () => (await archive.progress(0))?.answeredMs, { timeout: 60_000 })
      .toBe(askedAtMs);
    expect(await store.redis.zcard(store.keys.scheduled)).toBe(2);
    expect(await archive.find(published.id)).toMatchObject({ state: "pending" });
  });

  test("a requested search finds what is missing and leaves what is there", async () => {
    const [kept, lost] = [await accept("u1", "kept"), await accept("u1", "lost")];
    await searched();
    await until(lost.id, { state: "queued" });
    await store.redis.del(store.keys.record(lost.id));
    await store.redis.xdel(store.keys.inbox("u1"), "2-0");
    await archive.askRedrive([0], Date.now());
    await expect.poll(() => inbox("u1"), { timeout: 60_000 }).toEqual(["kept", "lost"]);
    await until(kept.id, { state: "queued", seq: 1 });
    await archive.update([{ id: lost.id, lookAtMs: 0 }]);
    await until(lost.id, { state: "queued", seq: 3 });
    const { askedAtMs, answeredMs, driven } = (await archive.progress(0)) ?? {};
    expect([answeredMs, driven]).toEqual([askedAtMs, 1]);
  });

  test("what is sent again keeps its time of acceptance, due or not", async () => {
    await archiver.stop();
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000, ttlMs: 3_600_000 };
    const due = newRow({ ...at, recipient: "u1" });
    const [later, collapsing] = [
      newRow({ ...at, recipient: "u2", deliverAtMs: Date.now() + 3_600_000 }),
      newRow({ ...at, recipient: "u3", collapseKey: "score" }),
    ];
    await archive.write([due, later, collapsing]);
    await begin();
    await until(due.id, { state: "queued", seq: 1 });
    await until(collapsing.id, { state: "queued", seq: 1 });
    await until(later.id, { state: "scheduled" });
    for (const { id } of [due, later, collapsing]) {
      const record = await store.redis.get(store.keys.record(id));
      expect(decodeMessageRecord(record ?? "").atMs, id).toBe(at.acceptedAtMs);
    }
  });

  test("takes back what it sent again while its user was being erased, even if the archive goes away in between", async () => {
    await archiver.stop();
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000, ttlMs: 3_600_000 };
    const later = { ...at, deliverAtMs: Date.now() + 3_600_000 };
    const [theirs, scheduled] = [
      newRow({ ...at, recipient: "gone" }),
      newRow({ ...later, recipient: "gone" }),
    ];
    const other = newRow({ ...at, recipient: "stays" });
    await archive.write([theirs, scheduled, other]);
    let asked = 0;
    const racing = withErasedUntil(async (users) => {
      const found = await archive.erasedUntil(users);
      if (++asked === 2) throw new Error("the archive is away");
      // The whole erasure, between reading the tombstones and the re-drive.
      if (asked === 1) {
        await archive.noteErasure("gone", Date.now());
        await archive.erase("gone");
      }
      return found;
    });
    await begin(racing);
    await until(other.id, { state: "queued", seq: 1 });
    expect(asked).toBeGreaterThan(2);
    expect(await inbox("stays")).toEqual([other.data]);
    expect(await inbox("gone")).toEqual([]);
    expect(await store.redis.exists(store.keys.record(theirs.id), store.keys.record(scheduled.id))).toBe(0);
    expect(await store.redis.zcard(store.keys.scheduled)).toBe(0);
  });

  test("what an owner sent again during an erasure before it died is taken back by the next owner", async () => {
    await archiver.stop();
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000, ttlMs: 3_600_000 };
    const [theirs, other] = [newRow({ ...at, recipient: "gone" }), newRow({ ...at, recipient: "stays" })];
    await archive.write([theirs, other]);
    let asked = 0;
    // From the second look on, it is as if this owner were dead.
    await begin(
      withErasedUntil(async (users) => {
        if (++asked > 1) throw new Error("the archive is away");
        const found = await archive.erasedUntil(users);
        await archive.noteErasure("gone", Date.now());
        await archive.erase("gone");
        return found;
      }),
    );
    await expect.poll(() => inbox("gone"), { timeout: 60_000 }).toEqual([theirs.data]);
    await archiver.stop();
    await begin();
    await expect.poll(() => inbox("gone"), { timeout: 60_000 }).toEqual([]);
    await expect.poll(() => store.redis.exists(store.keys.archiveDriven), { timeout: 60_000 }).toBe(0);
    expect(await inbox("stays")).toEqual([other.data]);
    expect(await store.redis.exists(store.keys.record(theirs.id))).toBe(0);
  });

  test("takes back what was stored during an erasure and not answered", async () => {
    await archiver.stop();
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000, ttlMs: 3_600_000 };
    const [theirs, other] = [newRow({ ...at, recipient: "gone" }), newRow({ ...at, recipient: "stays" })];
    await archive.write([theirs, other]);
    let isErased = false;
    const erasing = withErasedUntil(async (users) => {
      const found = await archive.erasedUntil(users);
      if (!isErased) {
        isErased = true;
        await archive.noteErasure("gone", Date.now());
        await archive.erase("gone");
      }
      return found;
    });
    const accepter = store.accepter();
    const stored: string[] = [];
    const token = await store.own();
    const term = { endsAtMs: Number.MAX_SAFE_INTEGER, serverUntilMs: Number.MAX_SAFE_INTEGER };
    archiver = new Archiver({
      scripts: store.scripts,
      owner: { open: [new HeldPartition(store.keys, token, term, systemClock)] },
      archive: erasing,
      spool: new ArchiveSpool<NewRow>({ redis: store.redis, partitions: store.partitions, cap: 0 }),
      accepter: {
        accept: async (one) => {
          const { outcome } = await accepter.accept(one);
          stored.push(`${one.userId} ${outcome}`);
          throw new PetrelError("PETREL_UNAVAILABLE", "The link was cut.");
        },
      },
      scheduler: { schedule: () => Promise.reject(new Error("nothing is scheduled")) },
      metrics: createArchiverMetrics(new Registry()),
      logger,
      redrivePerSecond: 10_000,
    });
    archiver.start();
    await expect.poll(() => stored.toSorted(), { timeout: 60_000 }).toEqual(["gone stored", "stays stored"]);
    await expect.poll(() => inbox("gone"), { timeout: 30_000 }).toEqual([]);
    expect(await inbox("stays")).toEqual([other.data]);
    await expect.poll(() => store.redis.exists(store.keys.archiveDriven), { timeout: 60_000 }).toBe(0);
  });

  test("drains the spool in order, without what was erased meanwhile", async () => {
    await archiver.stop();
    const spool = new ArchiveSpool<NewRow>({ redis: store.redis, partitions: store.partitions, cap: 100 });
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000 };
    const accepted = await accept("u1", "1", false);
    const refused = newRow({ ...at, recipient: "u1", attempt: "a" });
    // Nobody looks at these for a while: if they came in, they would be there.
    const later = { ...at, acceptedAtMs: Date.now() + 600_000 };
    const erased = newRow({ ...later, recipient: "gone" });
    const published = newRow({ ...later, recipient: "#news", from: "gone" });
    await archive.noteErasure("gone", Date.now() + 1_200_000);
    // Over: the sweep finishes only what was not.
    await archive.erase("gone");
    for (const row of [accepted, refused, erased, published]) await spool.add(0, [{ kind: "write", row }]);
    await spool.add(0, [{ kind: "refuse", row: refused }]);
    await begin();
    await until(accepted.id, { state: "queued", seq: 1 });
    expect(await archive.find(refused.id)).toMatchObject({ state: "refused" });
    expect(await archive.find(erased.id)).toBeUndefined();
    expect(await archive.find(published.id)).toBeUndefined();
    expect(await spool.count(0)).toBe(0);
  });

  test("removes an erased user's late publications at their check", async () => {
    await archiver.stop();
    const at = { acceptedAtMs: Date.now() - AGE_MS, expiresAtMs: Date.now() + 3_600_000, recipient: "#news" };
    await archive.noteErasure("gone", Date.now());
    await archive.erase("gone");
    const [theirs, other] = [newRow({ ...at, from: "gone" }), newRow({ ...at, from: "stays" })];
    await archive.write([theirs, other]);
    await begin();
    await expect.poll(() => archive.find(theirs.id), { timeout: 60_000 }).toBeUndefined();
    expect(await archive.find(other.id)).toBeDefined();
  });
});
