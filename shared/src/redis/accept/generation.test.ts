// Tests users' sequences after Redis was restarted, failed over, or restored.
// Guarantees: a number that a client has seen is never given to another message in the same epoch.
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { lineageOf } from "../../protocol/messages/stored-message.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute, type RouteToConnect } from "../routes/connect-routes.js";

async function runIdOf(store: OpenStore): Promise<string> {
  return /^run_id:(\w+)/m.exec(await store.redis.info("server"))?.[1] ?? "";
}

async function accept(store: OpenStore, userId = "u1", id?: string) {
  const result = await store.accepter().accept(message({ userId, ...(id === undefined ? {} : { id }) }));
  if (result.outcome !== "stored") throw new Error(`not stored: ${result.outcome}`);
  return result;
}

async function connect(store: OpenStore, position?: RouteToConnect["position"], connection = "c1") {
  const route = { userId: "u1", node: "n1", connection, platform: "web", ...(position && { position }) };
  const result = await connectRoute(store.scripts, store.keys, route, routeLimits);
  if (result.outcome !== "connected") throw new Error("refused");
  return result;
}

describe("a master_replid other than the recorded one", () => {
  let store: OpenStore;
  beforeAll(async () => void (store = await openStore()));
  beforeEach(() => store.clear());
  afterAll(() => store.close());

  /** Makes it look like another master. */
  async function becomeAnotherMaster(): Promise<void> {
    await store.redis.hset(store.keys.generation, "replid", "0".repeat(40));
  }

  test("raises the generation once and records the new id", async () => {
    await accept(store);
    const before = await store.redis.hgetall(store.keys.generation);
    const replid = /^master_replid:(\w+)/m.exec(await store.redis.info("replication"))?.[1];
    const run = `${replid} ${await runIdOf(store)}`;
    // The first one followed no other: nothing can be lost.
    expect(before).toEqual({ replid, run, n: "1", since: "0" });
    await becomeAnotherMaster();
    const beforeMs = await store.nowMs();
    await accept(store);
    await accept(store, "u2");
    const after = await store.redis.hgetall(store.keys.generation);
    expect(after).toEqual({ replid, run, n: "2", since: expect.any(String) });
    expect(Number(after["since"])).toBeGreaterThanOrEqual(beforeMs);
  });

  test("the same process under a new id has lost nothing: records the id, starts no generation", async () => {
    const first = await accept(store);
    const before = await store.redis.hgetall(store.keys.generation);
    const former = "0".repeat(40);
    await store.redis.hset(store.keys.generation, {
      replid: former,
      run: `${former} ${await runIdOf(store)}`,
    });
    expect((await accept(store)).epoch).toBe(first.epoch);
    expect(await store.redis.hgetall(store.keys.generation)).toEqual(before);
  });

  test("does not trust a process recorded with an older id: a release that knows no process came between", async () => {
    const first = await accept(store);
    const [older, newer] = ["1".repeat(40), "2".repeat(40)];
    await store.redis.hset(store.keys.generation, { replid: newer, run: `${older} ${await runIdOf(store)}` });
    expect((await accept(store)).epoch).not.toBe(first.epoch);
    expect(await store.redis.hget(store.keys.generation, "n")).toBe("2");
  });

  test("reads the former release's record as it is, until the id changes", async () => {
    const first = await accept(store);
    await store.redis.hdel(store.keys.generation, "run");
    expect((await accept(store)).epoch).toBe(first.epoch);
    expect(await store.redis.hget(store.keys.generation, "n")).toBe("1");
  });

  test("accept: a user of an older generation gets a new epoch while seq goes on", async () => {
    const first = await accept(store);
    await becomeAnotherMaster();
    const second = await accept(store);
    const third = await accept(store);
    expect(second.seq).toBe(first.seq + 1);
    expect(second.epoch).not.toBe(first.epoch);
    expect(third).toMatchObject({ seq: 3, epoch: second.epoch });
  });

  test("a user who is first seen in the new generation keeps its epoch", async () => {
    await accept(store);
    await becomeAnotherMaster();
    const first = await accept(store, "u2");
    expect((await accept(store, "u2")).epoch).toBe(first.epoch);
  });

  test("a user in another partition has its own", async () => {
    await store.accepter().accept(message({ userId: "u9", partition: 1 }));
    await becomeAnotherMaster();
    await accept(store);
    expect(await store.redis.hget(store.partitions[1]?.generation ?? "", "n")).toBe("1");
  });

  test("connect gives the new epoch as accept does; a client of the former one is not resumed", async () => {
    const first = await accept(store);
    await becomeAnotherMaster();
    const connected = await connect(store, { epoch: first.epoch, since: 1 });
    expect(connected.epoch).not.toBe(first.epoch);
    expect(connected).toMatchObject({ seq: 1, after: 0, resumed: false, acked: 0 });
    expect((await accept(store)).epoch).toBe(connected.epoch);
  });

  test("the epoch differs each time", async () => {
    const epochs = new Set([(await accept(store)).epoch]);
    for (let i = 0; i < 5; i++) {
      await becomeAnotherMaster();
      epochs.add((await accept(store)).epoch);
    }
    expect(epochs.size).toBe(6);
  });

  test("what was stored before keeps its state: the epoch's lineage stays", async () => {
    const first = await accept(store, "u1", "before");
    await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch: first.epoch, seq: 1 }], 100);
    await accept(store, "u1", "open");
    await becomeAnotherMaster();
    const third = await accept(store, "u1", "after");
    expect(lineageOf(third.epoch)).toBe(lineageOf(first.epoch));
    expect((await readMessage(store.scripts, store.keys, "before"))?.state).toBe("delivered");
    expect((await readMessage(store.scripts, store.keys, "open"))?.state).toBe("queued");
    await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch: third.epoch, seq: 3 }], 100);
    expect((await readMessage(store.scripts, store.keys, "open"))?.state).toBe("delivered");
  });

  test("an ack from the former epoch no longer counts", async () => {
    const first = await accept(store);
    await becomeAnotherMaster();
    await accept(store);
    const before = await store.snapshot();
    const acks = [{ userId: "u1", epoch: first.epoch, seq: 1 }];
    expect(await ackUsers(store.scripts, store.keys, acks, 100)).toEqual([undefined]);
    expect(await store.snapshot()).toEqual(before);
  });
});

describe("a real server", { timeout: 60_000 }, () => {
  const directories: string[] = [];
  const stores: OpenStore[] = [];
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
  });

  async function temporaryDirectory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), "petrel-generation-"));
    directories.push(directory);
    return directory;
  }

  /** Without a file of its own: a replica that writes its first file refuses to stop. */
  async function openEmpty(): Promise<OpenStore> {
    const store = await openStore();
    stores.push(store);
    return store;
  }

  async function openIn(directory: string): Promise<OpenStore> {
    const store = await openStore({ appendOnly: true, directory });
    stores.push(store);
    return store;
  }

  test("restarted with its append-only file: the data is there, the epoch is new, seq goes on", async () => {
    const directory = await temporaryDirectory();
    const former = await openIn(directory);
    const first = await accept(former);
    await former.close();
    const restarted = await openIn(directory);
    const second = await accept(restarted);
    expect(second.seq).toBe(2);
    expect(second.epoch).not.toBe(first.epoch);
  });

  test("restarted without its tail: the lost numbers are assigned again, but in another epoch", async () => {
    const [directory, copy] = [await temporaryDirectory(), await temporaryDirectory()];
    const former = await openIn(directory);
    const first = await accept(former);
    await cp(directory, copy, { recursive: true });
    const lost = await accept(former, "u1", "lost");
    expect(lost).toMatchObject({ seq: 2, epoch: first.epoch });
    await former.close();

    const restored = await openIn(copy);
    const connected = await connect(restored, { epoch: lost.epoch, since: 2 });
    expect(connected).toMatchObject({ seq: 1, after: 0, resumed: false, acked: 0 });
    const again = await accept(restored);
    expect(again.seq).toBe(2);
    expect(again.epoch).not.toBe(lost.epoch);
    expect(await readMessage(restored.scripts, restored.keys, "lost")).toBeUndefined();
  });

  test("failed over to a replica: another master, another epoch", async () => {
    const [main, replica] = [await openEmpty(), await openEmpty()];
    const first = await accept(main);
    await replicate(main, replica);
    await replica.redis.replicaof("NO", "ONE");
    const second = await accept(replica);
    expect(second.seq).toBe(2);
    expect(second.epoch).not.toBe(first.epoch);
  });

  test("a master that was replaced for a while: the same process, lacking what the other had", async () => {
    const [main, other] = [await openEmpty(), await openEmpty()];
    const first = await accept(main);
    await replicate(main, other);
    const before = await main.redis.hgetall(main.keys.generation);
    await other.redis.replicaof("NO", "ONE");
    // No script runs under the other master: what is noted is still this process'.
    await replicate(other, main);
    await main.redis.replicaof("NO", "ONE");
    expect(await main.redis.hget(main.keys.generation, "run")).toBe(before["run"]);
    expect((await accept(main)).epoch).not.toBe(first.epoch);
  });

  test("when the first replica attaches, leaves for good, and returns, its master has lost nothing", async () => {
    const [main, replica] = [await openEmpty(), await openEmpty()];
    const first = await accept(main);
    const ids = new Set([await replidOf(main)]);
    await replicate(main, replica);
    ids.add(await replidOf(main));
    expect((await accept(main)).epoch).toBe(first.epoch);
    await main.redis.config("SET", "repl-backlog-ttl", "1");
    await replica.redis.replicaof("NO", "ONE");
    await waitFor(async () => !ids.has(await replidOf(main)), {
      what: "the id without replicas",
      deadlineMs: 25_000,
    });
    ids.add(await replidOf(main));
    expect((await accept(main)).epoch).toBe(first.epoch);
    await replicate(main, replica);
    ids.add(await replidOf(main));
    expect((await accept(main)).epoch).toBe(first.epoch);
    // Each of these changes alone would have made every client move to a new epoch.
    expect(ids.size).toBe(4);
    expect(await main.redis.hget(main.keys.generation, "n")).toBe("1");
  });

  async function replidOf(store: OpenStore): Promise<string> {
    return /^master_replid:(\w+)/m.exec(await store.redis.info("replication"))?.[1] ?? "";
  }

  async function replicate(main: OpenStore, replica: OpenStore): Promise<void> {
    await main.redis.config("SET", "repl-diskless-sync-delay", "0");
    await main.redis.config("SET", "shutdown-timeout", "0");
    await replica.redis.replicaof("127.0.0.1", main.server.port);
    await waitFor(async () => (await replica.redis.info("replication")).includes("master_link_status:up"), {
      what: "the replica's link",
      deadlineMs: 25_000,
    });
  }
});
