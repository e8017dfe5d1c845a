// Tests only: the duties of every message archive, as one suite for all implementations.
// Guarantees: one test for each comment of archive/message-archive.ts.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MessageArchive } from "../../archive/message-archive.js";
import { newRow, T0 } from "./new-row.js";

/** @param open returns an archive that is empty at first, for all tests of the suite */
export function describeArchive(name: string, open: () => Promise<MessageArchive>): void {
  describe(`${name}, as every archive`, () => {
    let archive: MessageArchive;
    let partition = 0;
    beforeAll(async () => void (archive = await open()));
    afterAll(() => archive.close());
    /** Each test has its own partition and users. */
    const fresh = (): { partition: number; recipient: string } => ({
      partition: ++partition,
      recipient: `user-${partition}`,
    });

    test("reads a row back as it was written, pending", async () => {
      const row = newRow({
        ...fresh(),
        data: `{"text":"Grüße \\u0000 \\ud800","n":[1e400,null]}`,
        notification: `{"title":"t"}`,
        fallback: "always",
        priority: "high",
        collapseKey: "k",
        deliverAtMs: T0 + 5_000,
        history: { size: 0, ageMs: 86_400_000, bytes: 1_048_576 },
        fingerprint: "f",
        attempt: "a",
        from: "grace",
      });
      expect(await archive.write([row])).toEqual(["new"]);
      expect(await archive.find(row.id)).toMatchObject({ ...row, state: "pending", seq: undefined });
      expect(await archive.find("p0_none")).toBeUndefined();
    });

    test("leaves an existing row as it is, whoever writes it again", async () => {
      const at = fresh();
      const [a, b, c] = [newRow(at), newRow(at), newRow(at)];
      expect(await archive.write([a, b])).toEqual(["new", "new"]);
      expect(await archive.write([c, { ...a, data: `"other"` }, b])).toEqual(["new", "known", "known"]);
      expect(await archive.find(a.id)).toMatchObject({ data: a.data });
    });

    test("of concurrent writers of the same rows, at most one is told that a row is new; all rows exist", async () => {
      const at = fresh();
      const rows = Array.from({ length: 20 }, () => newRow(at));
      const answers = await Promise.all([archive.write(rows), archive.write(rows), archive.write(rows)]);
      for (const i of rows.keys())
        expect(answers.map((answer) => answer[i]).filter((word) => word !== "known").length).toBeLessThan(2);
      expect(await archive.due(at.partition, T0 + 60_000, 100)).toHaveLength(20);
    });

    test("a refusal ends the row of its attempt, and no other", async () => {
      const at = fresh();
      const [ours, theirs] = [newRow({ ...at, attempt: "a1" }), newRow({ ...at, attempt: "a2" })];
      await archive.write([ours, theirs]);
      await archive.refuse([
        { id: ours.id, attempt: "a1" },
        { id: theirs.id, attempt: "a1" },
      ]);
      expect(await archive.find(ours.id)).toMatchObject({ state: "refused", lookAtMs: undefined });
      expect(await archive.find(theirs.id)).toMatchObject({ state: "pending" });
    });

    test("accepted content replaces what was refused or is pending; a late refusal then does nothing", async () => {
      const at = fresh();
      const first = newRow({ ...at, attempt: "a1" });
      const second = { ...first, attempt: "a2", fingerprint: "f2", data: `"second"` };
      await archive.write([first]);
      await archive.refuse([first]);
      await archive.replace([second]);
      await archive.refuse([first]);
      const found = await archive.find(first.id);
      expect(found).toMatchObject({ data: `"second"`, state: "pending", attempt: "a2" });
      expect(found?.lookAtMs).toBeGreaterThan(T0);
    });

    test("accepted content replaces nothing that has ended, and creates no row", async () => {
      const row = newRow(fresh());
      await archive.replace([row]);
      expect(await archive.find(row.id)).toBeUndefined();
      await archive.write([row]);
      await archive.update([{ id: row.id, state: "delivered", lookAtMs: null }]);
      await archive.replace([{ ...row, data: `"x"` }]);
      expect(await archive.find(row.id)).toMatchObject({ state: "delivered", data: row.data });
    });

    test("an update changes the named fields, removes what it says, and never brings a row back", async () => {
      const row = newRow(fresh());
      await archive.write([row]);
      await archive.update([
        { id: row.id, state: "queued", seq: 7, epoch: "e.1", missingSinceMs: T0, isLost: true },
      ]);
      expect(await archive.find(row.id)).toMatchObject({
        state: "queued",
        seq: 7,
        epoch: "e.1",
        missingSinceMs: T0,
        isLost: true,
        data: row.data,
      });
      await archive.update([
        { id: row.id, state: "pushed", word: "apns", endedAtMs: T0 + 9, missingSinceMs: null, isLost: null },
        { id: "p0_none", state: "delivered" },
      ]);
      expect(await archive.find(row.id)).toMatchObject({
        state: "pushed",
        word: "apns",
        endedAtMs: T0 + 9,
        missingSinceMs: undefined,
        isLost: false,
        seq: 7,
      });
      expect(await archive.find("p0_none")).toBeUndefined();
    });

    test("returns due rows by time, of one partition, until they have ended for good", async () => {
      const at = fresh();
      const rows = [3, 1, 2, 9].map((n) => newRow({ ...at, data: String(n) }));
      await archive.write(rows);
      await archive.write([newRow(fresh())]);
      await archive.update(rows.map(({ id, data }) => ({ id, lookAtMs: T0 + Number(data) })));
      const due = async (nowMs: number, limit = 10) =>
        (await archive.due(at.partition, nowMs, limit)).map(({ data }) => data);
      expect(await due(T0 + 3)).toEqual(["1", "2", "3"]);
      expect(await due(T0 + 9, 2)).toEqual(["1", "2"]);
      expect(await archive.lag(at.partition, T0 + 4)).toEqual({ rows: 3, oldestMs: 3 });
      await archive.update(rows.map(({ id }) => ({ id, lookAtMs: null })));
      expect(await due(T0 + 9)).toEqual([]);
      expect(await archive.lag(at.partition, T0 + 9)).toEqual({ rows: 0, oldestMs: 0 });
    });

    test("returns open rows by acceptance, page by page", async () => {
      const at = fresh();
      const rows = [5, 5, 5, 1, 8, 3].map((ms) => newRow({ ...at, acceptedAtMs: T0 + ms }));
      await archive.write(rows);
      await archive.update([{ id: rows[5]?.id ?? "", lookAtMs: null }]);
      const seen: { acceptedAtMs: number; id: string }[] = [];
      for (;;) {
        const page = await archive.open({
          partition: at.partition,
          fromMs: T0 + 1,
          untilMs: T0 + 8,
          after: seen.at(-1),
          limit: 2,
        });
        if (page.length === 0) break;
        seen.push(...page);
      }
      expect(seen.map(({ acceptedAtMs }) => acceptedAtMs - T0)).toEqual([1, 5, 5, 5]);
      expect(new Set(seen.map(({ id }) => id)).size).toBe(4);
    });

    test("lists a user's messages in order, of one lineage, between two numbers", async () => {
      const at = fresh();
      const rows = [4, 2, 3, 1].map((n) => newRow({ ...at, data: String(n) }));
      const [old, gone, unnumbered] = [newRow(at), newRow(at), newRow(at)];
      await archive.write([...rows, old, gone, unnumbered, newRow(fresh())]);
      const state = "delivered";
      await archive.update(
        rows.map(({ id, data }) => ({ id, state, seq: Number(data), epoch: `e.${data}` })),
      );
      await archive.update([
        { id: old.id, state, seq: 2, epoch: "before.1" },
        { id: gone.id, state: "cancelled", seq: 5, epoch: "e.5" },
      ]);
      const list = async (after: number, below: number | undefined, limit: number) =>
        (await archive.list(at.recipient, "e", { after, below, limit })).map(({ seq }) => seq);
      expect(await list(0, undefined, 10)).toEqual([1, 2, 3, 4]);
      expect(await list(1, 4, 10)).toEqual([2, 3]);
      expect(await list(0, undefined, 2)).toEqual([1, 2]);
    });

    test("an erasure removes what was accepted before it, and leaves a tombstone", async () => {
      const at = fresh();
      const [before, after] = [newRow(at), newRow({ ...at, acceptedAtMs: T0 + 10 })];
      const other = newRow(fresh());
      await archive.write([before, after, other]);
      await archive.noteErasure(at.recipient, T0 + 5);
      expect(await archive.erasedUntil([at.recipient, other.recipient])).toEqual(
        new Map([[at.recipient, T0 + 5]]),
      );
      expect(await archive.erase(at.recipient)).toBe(1);
      expect(await archive.find(before.id)).toBeUndefined();
      expect(await archive.find(after.id)).toBeDefined();
      expect(await archive.find(other.id)).toBeDefined();
      expect(await archive.erasedUntil([at.recipient])).toEqual(new Map([[at.recipient, T0 + 5]]));
      expect(await archive.erase("never-erased")).toBe(0);
    });

    test("an erasure removes what the user published to topics before it", async () => {
      const { partition, recipient: from } = fresh();
      const topic = { partition, recipient: `#${from}` };
      const [theirs, later] = [newRow({ ...topic, from }), newRow({ ...topic, from, acceptedAtMs: T0 + 10 })];
      const [others, servers] = [newRow({ ...topic, from: "other" }), newRow(topic)];
      await archive.write([theirs, later, others, servers]);
      await archive.noteErasure(from, T0 + 5);
      expect(await archive.erase(from)).toBe(1);
      expect(await archive.find(theirs.id)).toBeUndefined();
      for (const { id } of [later, others, servers]) expect(await archive.find(id)).toBeDefined();
    });

    test("lists a topic's history like a user's, with the publisher", async () => {
      const { partition, recipient } = fresh();
      const topic = { partition, recipient: `#${recipient}` };
      const rows = [newRow({ ...topic, from: "ada" }), newRow(topic)];
      await archive.write([...rows, newRow({ partition, recipient })]);
      await archive.update(
        rows.map(({ id }, i) => ({ id, state: "published" as const, seq: i + 1, epoch: "e.1" })),
      );
      const page = { after: 0, below: 3, limit: 10 };
      expect((await archive.list(topic.recipient, "e", page)).map(({ seq, from }) => [seq, from])).toEqual([
        [1, "ada"],
        [2, undefined],
      ]);
    });

    test("the sweep finishes an erasure that was begun and not finished", async () => {
      const at = fresh();
      const row = newRow(at);
      await archive.write([row]);
      await archive.noteErasure(at.recipient, T0 + 5);
      expect((await archive.status()).erasuresOpen).toBe(1);
      await archive.removeOld(T0);
      expect(await archive.find(row.id)).toBeUndefined();
      expect((await archive.status()).erasuresOpen).toBe(0);
    });

    test("removes expired rows, by the server or the sweep; open ones stay", async () => {
      const at = fresh();
      const daysAgo = (days: number): number => Date.now() - days * 86_400_000;
      const old = newRow({ ...at, acceptedAtMs: daysAgo(91), expiresAtMs: daysAgo(90) });
      const open = newRow({ ...at, acceptedAtMs: daysAgo(91), expiresAtMs: Date.now() + 1_000 });
      await archive.write([old, open]);
      await archive.removeOld(Date.now());
      if (!(await archive.status()).ttlIndex) expect(await archive.find(old.id)).toBeUndefined();
      expect(await archive.find(open.id)).toBeDefined();
    });

    test("removes rows by their ids", async () => {
      const [one, two] = [newRow(fresh()), newRow(fresh())];
      await archive.write([one, two]);
      await archive.remove([one.id]);
      expect([await archive.find(one.id), (await archive.find(two.id))?.id]).toEqual([undefined, two.id]);
    });

    test("a redrive requested during a search outlives what the search records; those without progress get one", async () => {
      const search = { generation: "3:abc", isUnderWay: false, looked: 5, driven: 2, changedAtMs: T0 };
      await archive.noteProgress({ partition: 901, ...search });
      await archive.askRedrive([901, 902], T0 + 1);
      await archive.noteProgress({ partition: 901, ...search, looked: 6 });
      expect(await archive.progress(901)).toEqual({
        partition: 901,
        ...search,
        looked: 6,
        askedAtMs: T0 + 1,
      });
      await archive.noteProgress({ partition: 901, ...search, answeredMs: T0 + 1 });
      expect(await archive.progress(901)).toMatchObject({ askedAtMs: T0 + 1, answeredMs: T0 + 1 });
      expect(await archive.progress(902)).toMatchObject({ generation: "", askedAtMs: T0 + 1 });
    });

    test("counts what has not ended", async () => {
      const at = fresh();
      const [ended, open] = [newRow(at), newRow(at)];
      await archive.write([ended, open, newRow(fresh())]);
      await archive.update([{ id: ended.id, lookAtMs: null }]);
      expect(await archive.countOpen(at.partition)).toBe(1);
    });

    test("keeps a search's progress by partition", async () => {
      const progress = {
        partition: 900,
        generation: "3:abc",
        isUnderWay: true,
        looked: 5,
        driven: 2,
        changedAtMs: T0,
      };
      expect(await archive.progress(900)).toBeUndefined();
      await archive.noteProgress(progress);
      await archive.noteProgress({ ...progress, isUnderWay: false, looked: 9 });
      expect(await archive.progress(900)).toEqual({ ...progress, isUnderWay: false, looked: 9 });
      expect((await archive.status()).partitions).toContainEqual({
        ...progress,
        isUnderWay: false,
        looked: 9,
      });
    });
  });
}
