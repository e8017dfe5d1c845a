// Tests that work under way while a user is erased does not touch the history that the same id has afterwards.
// Guarantees: a late number changes nothing in the new history, an id that is sent again names only the new message,
// and nothing of the old history comes back.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { DeadLettersStore } from "../fallback/dead-letters-store.js";
import { keepDeviceSends, readDeviceSends } from "../fallback/device-sends-store.js";
import { DevicesStore } from "../devices/devices-store.js";
import { UserEraser } from "../erasure/erase-user.js";
import { expireMessages } from "./expire-messages.js";
import { promoteRetries, readFallback, type TakenEntry } from "../fallback/fallback-queue.js";
import { readAttempts, readMessage } from "./read-message.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { settleFallback, type Settlement } from "../fallback/settle-fallback.js";
import { takeCollapseTurn } from "../fallback/take-collapse-turn.js";

/** A user of the first partition. */
const USER = ["u1", "u2", "u3", "u4"].find((id) => partitionOfUser(id, 2) === 0) ?? "";
const HOUR_MS = 3_600_000;
const NOTIFICATION = `{"title":"of the old one"}`;
const failed = { outcome: "failed", cause: "rejected", reason: "no" } as const;

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function accept(parts: Partial<MessageToAccept> = {}) {
  const given = message({ userId: USER, id: "m1", ...parts });
  const result = await store.accepter().accept(given);
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return { ...given, ...result };
}

async function erase(scripts = store.scripts): Promise<void> {
  const { partitions } = store;
  const devices = new DevicesStore(store.scripts, partitions);
  await new UserEraser({ scripts, partitions, devices }).erase(USER);
}

/** Erases the user, and does something else as soon as the first step is done. */
async function eraseWhile(then: () => Promise<unknown>): Promise<void> {
  await erase(new PausingRunner(store.redis, 1, then));
}

/** A message of u1 that a worker has taken. */
async function takeOld(): Promise<TakenEntry> {
  await accept({ fallback: "always", notification: NOTIFICATION });
  const [entry] = await readFallback(store.scripts, { keys: store.keys, priority: "normal" }, "w1", 1);
  if (entry === undefined) throw new Error("no entry");
  return entry;
}

const settle = (entry: TakenEntry, settlement: Settlement) =>
  settleFallback(store.scripts, entry, settlement, {
    attempts: 1,
    notes: [{ channel: "c", outcome: "failed", reason: "of the old one" }],
    deadLettersCap: 10,
  });
const record = async (id = "m1") => decodeMessageRecord((await store.redis.get(store.keys.record(id))) ?? "");
const stateOf = async (id: string) => (await readMessage(store.scripts, store.keys, id))?.state;
const user = () => store.redis.hgetall(store.keys.user(USER));
async function whereItStands(text: string): Promise<string[]> {
  const all = await store.snapshot();
  return Object.keys(all).filter((name) => JSON.stringify(all[name]?.value).includes(text));
}

test("a stalled expire moves nothing of the new history", async () => {
  const old = await Promise.all(["m1", "m2", "m3"].map((id) => accept({ id, ttlMs: 0 })));
  await erase();
  const fresh = await accept({ id: "m4" });
  expect(fresh.seq).toBe(1);
  const before = await store.snapshot();
  const far = { atMs: 9_999_999_999_999, readSeq: 1, epoch: old[0]?.epoch ?? "" };
  expect(await expireMessages(store.scripts, store.keys, USER, old, far)).toBe(0);
  expect(await store.snapshot()).toEqual(before);
  expect(await stateOf("m4")).toBe("queued");
});

test("expired messages of a former history end expired, however far the new one is", async () => {
  await accept({ ttlMs: 0 });
  await store.redis.del(store.keys.user(USER), store.keys.inbox(USER));
  const { epoch } = await accept({ id: "m2" });
  await store.redis.hset(store.keys.user(USER), "acked", "1");
  expect((await record("m1")).epoch).not.toBe(epoch);
  expect(await stateOf("m1")).toBe("expired");
  expect(await user()).toMatchObject({ acked: "1", seq: "1" });
});

test.each([{ outcome: "taken", channel: "c" }, { outcome: "retry", delayMs: 0 }, failed] as const)(
  "a late settlement ($outcome) does not affect a message that has the id now",
  async (settlement) => {
    const entry = await takeOld();
    await erase();
    await accept();
    const before = await store.snapshot();
    expect((await settle(entry, settlement)).outcome).toBe("gone");
    expect(await store.snapshot()).toEqual(before);
    expect(await stateOf("m1")).toBe("queued");
  },
);

/** Interrupts after each of the eraser's calls, in turn. */
const calls = Array.from({ length: 14 }, (_, i) => i + 1);

test.each([{ outcome: "retry", delayMs: 0 }, failed] as const)(
  "$outcome, during the erasure: the entry goes nowhere the walk has already been",
  async (settlement) => {
    for (const after of calls) {
      await store.clear();
      const entry = await takeOld();
      await erase(new PausingRunner(store.redis, after, () => settle(entry, settlement)));
      expect([after, await whereItStands("of the old one")]).toEqual([after, []]);
    }
  },
);

test("a retry that becomes due during the erasure is erased all the same", async () => {
  for (const after of calls) {
    await store.clear();
    await settle(await takeOld(), { outcome: "retry", delayMs: 0 });
    const promote = () => promoteRetries(store.scripts, store.keys, 10);
    await erase(new PausingRunner(store.redis, after, promote));
    expect([after, await whereItStands("of the old one")]).toEqual([after, []]);
  }
});

test("accepted again during the erasure: stored, without earlier attempts, and it stays", async () => {
  const entry = await takeOld();
  await settle(entry, failed);
  await store.redis.sadd(store.keys.deviceSends("m1"), "d1");
  const before = await record();
  await eraseWhile(async () => {
    const again = await store.accepter().accept(message({ userId: USER, id: "m1", attempt: "second" }));
    expect(again).toMatchObject({ outcome: "stored", seq: 1 });
    expect(await store.accepter().accept(message({ userId: USER, id: "m1" }))).toMatchObject({
      outcome: "exists",
      record: { attempt: "second" },
    });
  });
  expect((await record()).epoch).not.toBe(before.epoch);
  expect(await stateOf("m1")).toBe("queued");
  expect(await readAttempts(store.redis, store.keys, "m1")).toEqual([]);
  expect(await readDeviceSends(store.redis, store.keys, "m1")).toEqual(new Set());
  expect(await user()).toMatchObject({ seq: "1", acked: "0" });
});

test("accepted again while Redis refuses to clean up after its namesake: it is not stored, and the next attempt is", async () => {
  await accept();
  const again = message({ userId: USER, id: "m1", data: `"new"` });
  await eraseWhile(async () => {
    await accept({ id: "m2" });
    // As while the slot is being moved: no caller declares those keys.
    await store.redis.call("ACL", "SETUSER", "default", "-unlink");
    try {
      await expect(store.accepter().accept(again)).rejects.toThrow();
    } finally {
      await store.redis.call("ACL", "SETUSER", "default", "+unlink");
    }
    expect((await store.accepter().accept(again)).outcome).toBe("stored");
  });
  expect(await store.redis.xlen(store.keys.inbox(USER))).toBe(2);
});

test("a full inbox refuses it, instead of taking it for a duplicate of what is being erased", async () => {
  await accept();
  await eraseWhile(async () => {
    await accept({ id: "m2" });
    const accepter = store.accepter({ inboxCap: 1 });
    expect(await accepter.accept(message({ userId: USER, id: "m1" }))).toEqual({ outcome: "inbox-full" });
  });
});

test("a dead letter of the old history replays nothing if the id has failed again", async () => {
  await settle(await takeOld(), failed);
  await store.redis.del(store.keys.user(USER), store.keys.inbox(USER), store.keys.record("m1"));
  const letters = new DeadLettersStore(store.scripts, store.partitions);
  const [old] = (await letters.list("rejected", undefined, 10)).items;
  if (old === undefined) throw new Error("no letter");
  await settle(await takeOld(), failed);
  expect(await letters.replay(old)).toBe("forgotten");
  const [fresh] = (await letters.list("rejected", undefined, 1)).items;
  if (fresh === undefined) throw new Error("no letter");
  expect(await letters.replay(fresh)).toBe("replayed");
});

test("the list of devices that have it is kept for the message that was sent, and not after it was erased", async () => {
  const old = { ...(await accept()), expiresAtMs: (await store.nowMs()) + HOUR_MS };
  const keep = (of: typeof old) => keepDeviceSends(store.scripts, store.keys, of, new Set(["d1", "d2"]));
  await keep(old);
  expect(await readDeviceSends(store.redis, store.keys, "m1")).toEqual(new Set(["d1", "d2"]));
  expect(await store.redis.pexpiretime(store.keys.deviceSends("m1"))).toBe(old.expiresAtMs);
  await erase();
  await keep(old);
  expect(await store.redis.exists(store.keys.deviceSends("m1"))).toBe(0);
  await accept();
  await keep(old);
  expect(await store.redis.exists(store.keys.deviceSends("m1"))).toBe(0);
});

test("a collapse key's turn stays if it is the new history's", async () => {
  const options = { holder: "h", leaseMs: 1_000, keepUntilMs: (await store.nowMs()) + HOUR_MS };
  const turnOf = ({ epoch, seq }: { epoch: string; seq: number }, collapseKey: string) =>
    takeCollapseTurn(store.scripts, store.keys, { userId: USER, collapseKey, epoch, seq }, options);
  const old = await accept();
  await turnOf(old, "a");
  await turnOf(old, "b");
  await eraseWhile(async () => {
    await accept({ id: "m2" });
    const { epoch } = await accept({ id: "m3" });
    expect(await turnOf({ epoch, seq: 2 }, "a")).toMatchObject({ turn: "go" });
  });
  const { epoch = "" } = await user();
  expect(await turnOf({ epoch, seq: 1 }, "a")).toEqual({ turn: "superseded" });
  expect(await turnOf({ epoch, seq: 1 }, "b")).toEqual({ turn: "go" });
});

/** Does something after the n-th call. */
class PausingRunner extends ScriptRunner {
  #left: number;
  readonly #then: () => Promise<unknown>;

  constructor(
    redis: ConstructorParameters<typeof ScriptRunner>[0],
    after: number,
    then: () => Promise<unknown>,
  ) {
    super(redis);
    this.#left = after;
    this.#then = then;
  }

  override async run(...call: Parameters<ScriptRunner["run"]>): Promise<string> {
    const answer = await super.run(...call);
    this.#left--;
    if (this.#left === 0) await this.#then();
    return answer;
  }
}
