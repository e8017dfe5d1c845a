// Tests presence in topics, as nodes report it, as owners remove it, and as it is read.
// Guarantees: state, not steps: a repeated or late call changes nothing; a change that others cannot see notifies
// nobody; a gone node takes its users with it, and no other's.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { takePartition } from "../partitions/partition-lease.js";
import { listPresence, readPresence } from "./read-presence.js";
import { findGoneHolders, removeHolder, type Removal } from "./remove-holder.js";
import { holderName, renewHolder, reportPresence, type PresenceHolder } from "./report-presence.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const leaseMs = 3_600_000;
const n1 = { node: "n1", number: 1 };
const n1Again = { node: "n1", number: 2 };
const n2 = { node: "n2", number: 1 };
let version = 0;

const begin = (holder: PresenceHolder, former?: PresenceHolder): Promise<string> =>
  renewHolder(store.scripts, store.keys, {
    holder,
    leaseMs,
    begins: true,
    ...(former === undefined ? {} : { former: { holder: former, leaseMs } }),
  });
const renew = (holder: PresenceHolder): Promise<string> =>
  renewHolder(store.scripts, store.keys, { holder, leaseMs });

type Says = Readonly<Record<string, number | undefined>>;

function report(
  holder: PresenceHolder,
  topic: string,
  says: Says,
  more: { readonly version?: number; readonly written?: number; readonly former?: PresenceHolder } = {},
): Promise<string> {
  return reportPresence(store.scripts, store.keys, {
    holder,
    version: more.version ?? ++version,
    written: more.written ?? 0,
    former: more.former,
    topics: [{ topic, users: Object.entries(says) }],
  });
}

const look = async (topic: string): Promise<unknown> =>
  (await readPresence(store.scripts, store.keys, [{ topic, wantsList: true }]))[0];
const list = async (topic: string) =>
  (await listPresence(store.scripts, store.keys, topic, { after: "", limit: 1_000 })).items;
const endLease = (holder: PresenceHolder): Promise<unknown> =>
  store.redis.zadd(store.keys.presenceLeases, "XX", 1, holderName(holder));

async function own(): Promise<string> {
  const lease = await takePartition(store.scripts, store.keys, "d1", leaseMs);
  return lease.outcome === "held" ? lease.token : "";
}

const remove = (token: string, holder: PresenceHolder, maxUsers = 200, settleMs = 0): Promise<Removal> =>
  removeHolder(store.scripts, store.keys, token, holder, { settleMs, maxUsers });

describe("a report", () => {
  test("counts users once, over all nodes, and each connection", async () => {
    await begin(n1);
    await begin(n2);
    await report(n1, "room.1", { bob: 2, alice: 1 });
    await report(n2, "room.1", { alice: 1, carol: 1 });
    expect(await look("room.1")).toEqual({ users: 3, connections: 5, here: ["alice", "bob", "carol"] });
    await report(n1, "room.1", { alice: undefined, bob: 1 });
    expect(await look("room.1")).toEqual({ users: 3, connections: 3, here: ["alice", "bob", "carol"] });
    await report(n2, "room.1", { alice: undefined });
    expect(await look("room.1")).toEqual({ users: 2, connections: 2, here: ["bob", "carol"] });
  });

  test("leaves nothing behind when the last one has gone", async () => {
    await begin(n1);
    const empty = await store.redis.dbsize();
    await report(n1, "room.1", { alice: 1 });
    await report(n1, "room.1", { alice: undefined });
    expect(await look("room.1")).toEqual({ users: 0, connections: 0, here: [] });
    expect(await store.redis.dbsize()).toBe(empty);
  });

  test("that runs twice changes nothing; nor does an older one that comes late", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1 }, { version: 10 });
    await report(n1, "room.1", { alice: undefined, bob: 1 }, { version: 11 });
    const heard = await store.listen(`${store.keys.topicChannel}room.1`);
    const before = await store.snapshot();
    expect(await report(n1, "room.1", { alice: undefined, bob: 1 }, { version: 11 })).toBe("old");
    expect(await report(n1, "room.1", { alice: 1 }, { version: 10 })).toBe("old");
    expect(await store.snapshot()).toEqual(before);
    // The same state under a new version, after an answer that was lost: nobody is told.
    expect(await report(n1, "room.1", { alice: undefined, bob: 1 }, { version: 12 })).toBe("ok");
    await report(n1, "room.1", { carol: 1 }, { version: 13 });
    await waitFor(() => heard.length > 0, { what: "a word of the change" });
    expect(heard).toEqual(["presence"]);
  });

  test("tells a topic's listeners once, however many of its users changed, and nobody else", async () => {
    await begin(n1);
    const channels = ["room.1", "room.2", "room.3"].map((topic) => store.keys.topicChannel + topic);
    const heard = await Promise.all(channels.map((channel) => store.listen(channel)));
    await reportPresence(store.scripts, store.keys, {
      holder: n1,
      version: ++version,
      former: undefined,
      topics: [
        {
          topic: "room.1",
          users: [
            ["alice", 1],
            ["bob", 1],
          ],
        },
        { topic: "room.2", users: [["alice", 1]] },
        { topic: "room.3", users: [["alice", undefined]] },
      ],
    });
    await store.redis.spublish(channels[2] ?? "", "end");
    await waitFor(() => heard.every((texts) => texts.length > 0), { what: "a text each" });
    expect(heard).toEqual([["presence"], ["presence"], ["end"]]);
  });

  test("of a user whose last connection has just gone changes nothing that others see, on another node either", async () => {
    await begin(n1);
    await begin(n2);
    await report(n1, "room.1", { alice: 1 });
    const [before] = await list("room.1");
    const heard = await store.listen(`${store.keys.topicChannel}room.1`);
    await report(n1, "room.1", { alice: 0 });
    expect(await look("room.1")).toEqual({ users: 1, connections: 1, here: ["alice"] });
    await report(n2, "room.1", { alice: 1 });
    await report(n1, "room.1", { alice: undefined });
    expect(await list("room.1")).toEqual([before]);
    await report(n2, "room.1", { alice: undefined });
    await waitFor(() => heard.length > 0, { what: "the end" });
    expect(heard).toEqual(["presence"]);
  });

  test("of a present user says since when, by Redis' clock, until the user has gone", async () => {
    await begin(n1);
    const startMs = await store.nowMs();
    await report(n1, "room.1", { alice: 1 });
    const [first] = await list("room.1");
    expect(first?.sinceMs).toBeGreaterThanOrEqual(startMs);
    expect(first?.sinceMs).toBeLessThanOrEqual(await store.nowMs());
    await store.redis.hset(store.keys.presenceCounts("room.1"), "alice", "1 1 77");
    await report(n1, "room.1", { alice: 2 });
    expect(await list("room.1")).toEqual([{ userId: "alice", connections: 2, sinceMs: 77 }]);
    await report(n1, "room.1", { alice: undefined });
    await report(n1, "room.1", { alice: 1 });
    expect((await list("room.1"))[0]?.sinceMs).toBeGreaterThan(77);
  });
});

describe("a node", () => {
  test("that has not begun is unknown, and nothing is written", async () => {
    expect(await renew(n1)).toBe("unknown");
    expect(await report(n1, "room.1", { alice: 1 })).toBe("unknown");
    expect(await store.redis.keys("*presence*")).toEqual([]);
  });

  test("is unknown to another master, and writes everything it holds: nobody goes missing or counts twice, stale users go", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 2, bob: 1, ghost: 1 });
    await store.redis.hset(store.keys.generation, "replid", "0".repeat(40));
    expect(await report(n1, "room.1", { alice: 1 })).toBe("unknown");
    expect(await renew(n1)).toBe("unknown");
    expect(await begin(n1Again, n1)).toBe("ok");
    expect(await look("room.1")).toMatchObject({ users: 3, connections: 4 });
    const heard = await store.listen(`${store.keys.topicChannel}room.1`);
    await report(n1Again, "room.1", { alice: 2 }, { former: n1 });
    expect(await look("room.1")).toMatchObject({ users: 3, connections: 4 });
    await report(n1Again, "room.1", { bob: 1 }, { former: n1 });
    expect(await look("room.1")).toMatchObject({ users: 3, connections: 4 });
    expect((await findGoneHolders(store.scripts, store.keys, 10)).holders).toEqual([]);
    const end = { holder: n1Again, leaseMs, former: { holder: n1, leaseMs: 0 } };
    await renewHolder(store.scripts, store.keys, end);
    expect((await findGoneHolders(store.scripts, store.keys, 10)).holders).toEqual([n1]);
    expect(await remove(await own(), n1)).toEqual({ outcome: "done", users: 1 });
    expect(await look("room.1")).toEqual({ users: 2, connections: 3, here: ["alice", "bob"] });
    expect(await renew(n1Again)).toBe("ok");
    expect(heard).toEqual(["presence"]);
  });

  test("that was only slow to renew stays known, as long as nothing was removed", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1 });
    await endLease(n1);
    expect(await renew(n1)).toBe("ok");
    expect(await remove(await own(), n1)).toEqual({ outcome: "alive" });
    expect(await look("room.1")).toMatchObject({ users: 1 });
  });

  test("that was taken for gone midway learns it, and stops the removal by beginning anew", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1, bob: 1, carol: 1 });
    await endLease(n1);
    const token = await own();
    expect(await remove(token, n1, 1)).toEqual({ outcome: "more", users: 1 });
    expect(await renew(n1)).toBe("unknown");
    expect(await report(n1, "room.1", { dave: 1 })).toBe("unknown");
    await begin(n1Again, n1);
    expect(await remove(token, n1)).toEqual({ outcome: "alive" });
    await report(n1Again, "room.1", { alice: 1, bob: 1, carol: 1 }, { former: n1 });
    expect(await look("room.1")).toMatchObject({ users: 3, connections: 3 });
  });

  test("whose begin call comes after the holder was removed is unknown at its next call: nobody stays missing", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1 }, { version: 10 });
    await report(n1, "room.1", { bob: 1 }, { version: 11 });
    const token = await own();
    await endLease(n1);
    expect(await remove(token, n1)).toMatchObject({ outcome: "done" });
    // The first call, on its way until now.
    expect(await begin(n1)).toBe("ok");
    const before = await store.snapshot();
    const { scripts, keys } = store;
    expect(await renewHolder(scripts, keys, { holder: n1, leaseMs, written: 11 })).toBe("unknown");
    expect(await report(n1, "room.1", { carol: 1 }, { version: 12, written: 11 })).toBe("unknown");
    expect(await store.snapshot()).toEqual(before);
    // Reports that come as late take nothing back: the node has answers for newer ones.
    expect(await report(n1, "room.1", { alice: 1 }, { version: 10 })).toBe("ok");
    expect(await renewHolder(scripts, keys, { holder: n1, leaseMs, written: 11 })).toBe("unknown");
    expect(await begin(n1Again, n1)).toBe("ok");
    expect(await renewHolder(scripts, keys, { holder: n1Again, leaseMs })).toBe("ok");
  });

  test("that begins twice, by a repeated call, keeps its version", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1 }, { version: 5 });
    expect(await begin(n1)).toBe("ok");
    expect(await report(n1, "room.1", { alice: undefined }, { version: 4 })).toBe("old");
  });
});

describe("a holder whose lease has ended", () => {
  test("is found, with the moment when the next one ends", async () => {
    await begin(n1);
    await begin(n2);
    const { holders, nextInMs = 0 } = await findGoneHolders(store.scripts, store.keys, 10);
    expect(holders).toEqual([]);
    expect(nextInMs).toBeGreaterThan(leaseMs - 60_000);
    expect(nextInMs).toBeLessThanOrEqual(leaseMs);
    await endLease(n2);
    expect((await findGoneHolders(store.scripts, store.keys, 10)).holders).toEqual([n2]);
  });

  test("is removed in bounded steps, with everything it holds and nothing else; each changed topic is told", async () => {
    await begin(n1);
    await begin(n2);
    await report(n1, "room.1", { alice: 1, bob: 1 });
    await report(n1, "room.2", { alice: 1 });
    await report(n2, "room.1", { alice: 1 });
    await endLease(n1);
    const heard = await Promise.all(
      ["room.1", "room.2"].map((topic) => store.listen(store.keys.topicChannel + topic)),
    );
    const token = await own();
    let users = 0;
    for (let i = 0; i < 3; i++) {
      const answer = await remove(token, n1, 1);
      if (!("users" in answer)) throw new Error(answer.outcome);
      expect(answer.outcome).toBe(i < 2 ? "more" : "done");
      users += answer.users;
    }
    expect(users).toBe(3);
    expect(await look("room.1")).toEqual({ users: 1, connections: 1, here: ["alice"] });
    expect(await look("room.2")).toEqual({ users: 0, connections: 0, here: [] });
    expect(await store.redis.keys("*n1*")).toEqual([]);
    expect((await findGoneHolders(store.scripts, store.keys, 10)).holders).toEqual([]);
    await waitFor(() => heard.every((texts) => texts.length > 0), { what: "a word in both topics" });
    expect(await renew(n2)).toBe("ok");
  });

  test("stays while its lease lasts, for a stale owner, and while a new master settles", async () => {
    await begin(n1);
    await report(n1, "room.1", { alice: 1 });
    const token = await own();
    const before = await store.snapshot();
    expect(await remove(token, n1)).toEqual({ outcome: "alive" });
    expect(await store.snapshot()).toEqual(before);
    await endLease(n1);
    const ended = await store.snapshot();
    expect(await remove("1.stale", n1)).toEqual({ outcome: "stale" });
    expect(await store.snapshot()).toEqual(ended);
    await store.redis.hset(store.keys.generation, "replid", "0".repeat(40));
    expect(await remove(token, n1, 200, 60_000)).toEqual({ outcome: "wait" });
    expect(await look("room.1")).toMatchObject({ users: 1 });
    expect(await remove(token, n1, 200, 0)).toEqual({ outcome: "done", users: 1 });
  });

  test("does not outlast its length if the clock was set back", async () => {
    await begin(n1);
    await store.redis.zadd(store.keys.presenceLeases, "XX", (await store.nowMs()) + 9 * leaseMs, "n1/1");
    await findGoneHolders(store.scripts, store.keys, 10);
    const score = Number(await store.redis.zscore(store.keys.presenceLeases, "n1/1"));
    expect(score).toBeLessThanOrEqual((await store.nowMs()) + leaseMs);
  });
});

describe("a read", () => {
  test("lists up to 200 users, in the order of their names, and none of a topic with more", async () => {
    await begin(n1);
    const names = Array.from({ length: 201 }, (_, i) => `u${String(i).padStart(3, "0")}`);
    await report(
      n1,
      "room.1",
      Object.fromEntries(
        names
          .slice(0, 200)
          .reverse()
          .map((name) => [name, 1]),
      ),
    );
    expect(await look("room.1")).toEqual({ users: 200, connections: 200, here: names.slice(0, 200) });
    await report(n1, "room.1", { u200: 1 });
    expect(await look("room.1")).toEqual({ users: 201, connections: 201 });
  });

  test("of many topics is answered in order, lists, counts and empty ones", async () => {
    await begin(n1);
    const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`u${i}`, 1]));
    for (const topic of ["a", "b", "c"]) await report(n1, topic, many);
    const questions = [
      { topic: "a", wantsList: true },
      { topic: "empty", wantsList: true },
      { topic: "b", wantsList: true },
      { topic: "c", wantsList: false },
      { topic: "none", wantsList: false },
    ];
    const answers = await readPresence(store.scripts, store.keys, questions);
    expect(answers.map(({ users, here }) => [users, here?.length])).toEqual([
      [150, 150],
      [0, 0],
      [150, 150],
      [150, undefined],
      [0, undefined],
    ]);
  });

  test("of a page continues after a name, and a large page is complete", async () => {
    await begin(n1);
    const names = Array.from({ length: 450 }, (_, i) => `u${String(i).padStart(3, "0")}`);
    for (let i = 0; i < 450; i += 150) {
      await report(n1, "room.1", Object.fromEntries(names.slice(i, i + 150).map((name) => [name, 1])));
    }
    const page = (after: string, limit: number) =>
      listPresence(store.scripts, store.keys, "room.1", { after, limit });
    const large = await page("", 430);
    expect(large).toMatchObject({ users: 450, connections: 450 });
    expect(large.items.map(({ userId }) => userId)).toEqual(names.slice(0, 430));
    expect((await page("u429", 430)).items.map(({ userId }) => userId)).toEqual(names.slice(430));
    // A name that has gone meanwhile still says where to go on.
    await report(n1, "room.1", { u100: undefined });
    expect((await page("u100", 1)).items.map(({ userId }) => userId)).toEqual(["u101"]);
  });
});
