// Tests the steps against a small model of a user's sequence, in random orders.
// Guarantees: a user with a message that has not ended is in `due`, no later than its ack timeout, whatever acks of this
// release and of older ones do; a user without such a message leaves it at the next wake; seq, acked, epoch and the
// states of all messages are the model's, in whatever order the steps run.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { readInbox } from "../inbox/read-inbox.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../routes/connect-routes.js";
import { cancelMessage } from "../recall/cancel-message.js";
import { wakeUsers } from "./wake-users.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

const numRuns = sized(2_000, 35);
const INBOX_CAP = 6;
const ACK_TIMEOUT_MS = 10_000;
const users = ["a", "b"] as const;
type User = (typeof users)[number];

interface ModelMessage {
  readonly id: string;
  readonly seq: number;
  readonly isOver: boolean;
  readonly expiresAtMs: number;
  isExpired: boolean;
  isCancelled: boolean;
}

interface ModelUser {
  /** undefined until Redis has made one */
  epoch: string | undefined;
  /** Whether the next accept or connect must make a new one. */
  isOutdated: boolean;
  readonly formerEpochs: Set<string>;
  seq: number;
  acked: number;
  readonly messages: ModelMessage[];
}

type Step =
  | { readonly do: "accept"; readonly user: User; readonly isOver: boolean }
  | { readonly do: "accept-again"; readonly user: User; readonly which: number }
  | {
      readonly do: "ack";
      readonly user: User;
      readonly offset: number;
      readonly isForeign: boolean;
      /** For an ack by an older release, which takes a user out of `due` once everything is acked: -1. */
      readonly momentMs: number;
    }
  | { readonly do: "wake"; readonly user: User }
  /** `back`: how far from the newest. */
  | { readonly do: "cancel"; readonly user: User; readonly back: number }
  | {
      readonly do: "connect";
      readonly user: User;
      readonly offset: number | undefined;
      readonly isForeign: boolean;
    }
  | { readonly do: "expire"; readonly user: User; readonly isComplete: boolean; readonly isLate: boolean }
  | { readonly do: "other-master" };

const user = fc.constantFrom(...users);
/** Relative to seq. */
const offset = fc.integer({ min: -6, max: 3 });
const mostlyFalse = fc.integer({ min: 0, max: 4 }).map((n) => n === 0);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("accept" as const), user, isOver: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("accept-again" as const), user, which: fc.nat(9) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("ack" as const),
      user,
      offset,
      isForeign: mostlyFalse,
      momentMs: fc.constantFrom(-1, 600_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wake" as const), user }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("cancel" as const), user, back: fc.nat(5) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("connect" as const),
      user,
      offset: fc.option(offset, { nil: undefined }),
      isForeign: mostlyFalse,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("expire" as const),
      user,
      isComplete: fc.boolean(),
      isLate: mostlyFalse,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("other-master" as const) }) },
);

class Model {
  readonly users: Readonly<Record<User, ModelUser>> = { a: newUser(), b: newUser() };
  readonly #accepter = store.accepter({ inboxCap: INBOX_CAP });
  #made = 0;

  async run(one: Step): Promise<void> {
    switch (one.do) {
      case "accept":
        return this.#accept(one.user, one.isOver);
      case "accept-again":
        return this.#acceptAgain(one.user, one.which);
      case "ack":
        return this.#ack(one);
      case "wake":
        return this.#wake(one.user);
      case "cancel":
        return this.#cancel(one.user, one.back);
      case "connect":
        return this.#connect(one.user, one.offset, one.isForeign);
      case "expire":
        return this.#expire(one.user, one.isComplete, one.isLate);
      case "other-master":
        await store.redis.hset(store.keys.generation, "replid", "0".repeat(40));
        for (const name of users) this.users[name].isOutdated = true;
    }
  }

  async #accept(name: User, isOver: boolean): Promise<void> {
    const model = this.users[name];
    const id = `${name}${++this.#made}`;
    const ttlMs = isOver ? 0 : 3_600_000 - this.#made * 1_000;
    const inInbox = await store.redis.xlen(store.keys.inbox(name));
    const result = await this.#accepter.accept(message({ userId: name, id, ttlMs }));
    if (model.seq - model.acked >= INBOX_CAP && inInbox >= INBOX_CAP) {
      expect(result.outcome).toBe("inbox-full");
      return;
    }
    if (result.outcome !== "stored") throw new Error(result.outcome);
    const dueAt = await store.redis.zscore(store.keys.due, name);
    expect(Number(dueAt ?? Number.NaN)).toBeLessThanOrEqual(result.atMs + Math.min(ttlMs, ACK_TIMEOUT_MS));
    model.seq++;
    expect(result.seq).toBe(model.seq);
    this.#meetEpoch(model, result.epoch);
    model.messages.push({
      id,
      seq: model.seq,
      isOver,
      expiresAtMs: result.atMs + ttlMs,
      isExpired: false,
      isCancelled: false,
    });
  }

  async #acceptAgain(name: User, which: number): Promise<void> {
    const { messages } = this.users[name];
    const earlier = messages[which % Math.max(1, messages.length)];
    if (earlier === undefined) return;
    const result = await this.#accepter.accept(message({ userId: name, id: earlier.id }));
    expect(result).toMatchObject({ outcome: "exists", record: { seq: earlier.seq } });
  }

  async #ack({ user: name, offset, isForeign, momentMs }: Extract<Step, { do: "ack" }>): Promise<void> {
    const model = this.users[name];
    const seq = Math.max(0, model.seq + offset);
    const epoch = isForeign ? "foreign.0" : (model.epoch ?? "none.0");
    const acks = [{ userId: name, epoch, seq }];
    const [answer] = await ackUsers(store.scripts, store.keys, acks, 1_000, 0, momentMs);
    if (isForeign || model.epoch === undefined) {
      expect(answer).toBeUndefined();
      return;
    }
    model.acked = Math.max(model.acked, Math.min(seq, model.seq));
    expect(answer).toBe(model.acked);
  }

  /** As the dispatcher does it, when the user's time has come. */
  async #wake(name: User): Promise<void> {
    const { redis, keys, scripts } = store;
    if ((await redis.zscore(keys.due, name)) === null) return;
    await redis.zadd(keys.due, (await store.nowMs()) - 1, name);
    const rules = { ackTimeoutMs: ACK_TIMEOUT_MS, absenceInMs: 0, settleMs: 0, confirmMs: 1_000 };
    const woken = await wakeUsers(scripts, keys, await store.own(), rules, [name]);
    if (woken === "stale") throw new Error("stale");
    overTakenOut(this.users[name]);
    if (woken[0]?.expire === true) await this.#expire(name, true, false);
    const { acked, seq } = this.users[name];
    expect((await redis.zscore(keys.due, name)) !== null, `${name} is in due after a wake`).toBe(acked < seq);
  }

  async #cancel(name: User, back: number): Promise<void> {
    const model = this.users[name];
    const one = model.messages.at(-1 - back);
    if (one === undefined) return;
    const result = await cancelMessage(store.scripts, store.scripts, store.keys, one.id);
    if (one.isCancelled) {
      expect(result).toEqual({ outcome: "cancelled" });
    } else if (one.isExpired) {
      expect(result).toEqual({ outcome: "refused", state: "expired" });
    } else if (one.seq <= model.acked) {
      expect(result).toEqual({ outcome: "refused", state: "delivered" });
    } else if (one.isOver) {
      expect(result).toEqual({ outcome: "refused", state: "expired" });
      one.isExpired = true;
      passOver(model, one.seq);
      overTakenOut(model);
    } else {
      expect(result).toEqual({ outcome: "cancelled" });
      one.isCancelled = true;
      overTakenOut(model);
    }
  }

  async #connect(name: User, offset: number | undefined, isForeign: boolean): Promise<void> {
    const model = this.users[name];
    const since = offset === undefined ? undefined : Math.max(0, model.seq + offset);
    const epoch = isForeign ? "foreign.0" : (model.epoch ?? "none.0");
    const keepsEpoch = !isForeign && model.epoch !== undefined && !model.isOutdated;
    const result = await connectRoute(
      store.scripts,
      store.keys,
      {
        userId: name,
        node: "n",
        connection: "c",
        platform: "web",
        ...(since === undefined ? {} : { position: { epoch, since } }),
      },
      { leaseMs: 1_000, maxConnectionsPerUser: 1, whenFull: "evict", ackTimeoutMs: ACK_TIMEOUT_MS },
    );
    if (result.outcome !== "connected") throw new Error("refused");
    this.#meetEpoch(model, result.epoch);
    const counts = since !== undefined && keepsEpoch && since <= model.seq;
    const after = counts ? since : model.acked;
    if (counts) model.acked = Math.max(model.acked, since);
    expect(result).toMatchObject({ seq: model.seq, acked: model.acked });
    // What ended behind something acknowledged may count as trimmed: includes/histories/kept-after knows one run of ends.
    if (countEndedRuns(model) <= 1 && model.messages.every(({ isCancelled }) => !isCancelled)) {
      expect(result).toMatchObject({ after, resumed: counts });
    }
  }

  /** As a node or the dispatcher does it: reads what is open, and writes the ends of what has expired. */
  async #expire(name: User, isComplete: boolean, isLate: boolean): Promise<void> {
    const model = this.users[name];
    const { messages: open } = await readInbox(store.scripts, store.keys, name, model.acked, {
      maxEntries: 100,
      maxBytes: 1e6,
    });
    expect(open.map(({ seq }) => seq)).toEqual(
      model.messages
        .filter(({ seq, isCancelled }) => seq > model.acked && !isCancelled)
        .map(({ seq }) => seq),
    );
    const readSeq = model.seq;
    // Somebody else is quicker: what was read is outdated when it is used.
    if (isLate) await this.#accept(name, true);
    const over = open.filter(({ id }) => model.messages.some((one) => one.id === id && one.isOver));
    const atMs = Math.min(
      9e12,
      ...open.filter((one) => !over.includes(one)).map(({ expiresAtMs }) => expiresAtMs),
    );
    const written = await expireMessages(
      store.scripts,
      store.keys,
      name,
      over,
      isComplete ? { atMs, readSeq, epoch: model.epoch ?? "" } : undefined,
    );
    let expected = 0;
    for (const { seq } of over) {
      const one = model.messages[seq - 1];
      if (one !== undefined && !one.isExpired) {
        one.isExpired = true;
        expected++;
      }
      passOver(model, seq);
    }
    if (over.length > 0 || isComplete) overTakenOut(model);
    expect(written).toBe(expected);
  }

  #meetEpoch(model: ModelUser, epoch: string): void {
    if (model.epoch === undefined || model.isOutdated) {
      expect(model.formerEpochs).not.toContain(epoch);
      expect(epoch).not.toBe(model.epoch);
      if (model.epoch !== undefined) model.formerEpochs.add(model.epoch);
      model.epoch = epoch;
      model.isOutdated = false;
    }
    expect(epoch).toBe(model.epoch);
  }

  async check(): Promise<void> {
    const { keys, redis } = store;
    const [dues, ...hashes] = await Promise.all([
      redis.zmscore(keys.due, ...users),
      ...users.map((name) => redis.hmget(keys.user(name), "epoch", "seq", "acked", "nextExpiry")),
    ]);
    for (const [i, name] of users.entries()) {
      const { epoch, seq, acked, messages } = this.users[name];
      const [hash = [], due = null] = [hashes[i], dues[i]];
      const nextExpiry = hash.pop();
      expect(hash).toEqual(epoch === undefined ? [null, null, null] : [epoch, String(seq), String(acked)]);
      if (acked < seq) expect(due, `${name} is in due`).not.toBeNull();
      const open = messages.filter((one) => one.seq > acked && !one.isExpired && !one.isCancelled);
      if (open.length > 0) {
        const firstExpiry = Math.min(...open.map(({ expiresAtMs }) => expiresAtMs));
        expect(Number(nextExpiry), `${name}'s next expiry is no later than its first`).toBeLessThanOrEqual(
          firstExpiry,
        );
        expect(Number(due), `${name} is looked at by then`).toBeLessThanOrEqual(firstExpiry);
      }
    }
  }

  /** Comes last: reading a state writes the end of an expired message. */
  async checkStates(): Promise<void> {
    for (const name of users) {
      const model = this.users[name];
      for (const one of model.messages) {
        const found = await readMessage(store.scripts, store.keys, one.id);
        const isDelivered = one.seq <= model.acked && !one.isExpired && !one.isCancelled;
        if (one.isOver && !isDelivered && !one.isCancelled) {
          one.isExpired = true;
          passOver(model, one.seq);
        }
        if (one.isOver) overTakenOut(model);
        const ended = one.isExpired ? "expired" : one.isCancelled ? "cancelled" : undefined;
        expect(found?.state, `${one.id}, seq ${one.seq}, acked ${model.acked}`).toBe(
          ended ?? (isDelivered ? "delivered" : "queued"),
        );
      }
    }
    await this.check();
    for (const name of users) await this.#wake(name);
  }
}

/** `acked` moves over what has ended, where only cancelled messages lie between. */
function passOver(model: ModelUser, seq: number): void {
  const between = model.messages.filter((one) => one.seq > model.acked && one.seq < seq);
  if (seq > model.acked && between.every(({ isCancelled }) => isCancelled)) model.acked = seq;
}

/** Runs of messages that ended without being acknowledged, with acknowledged ones between them. */
function countEndedRuns({ messages, acked }: ModelUser): number {
  const isEnded = (seq: number): boolean => messages[seq - 1]?.isExpired === true;
  return messages.filter(({ seq }) => seq <= acked && isEnded(seq) && !isEnded(seq - 1)).length;
}

function overTakenOut(model: ModelUser): void {
  while (model.messages[model.acked]?.isCancelled === true) model.acked++;
}

function newUser(): ModelUser {
  return { epoch: undefined, isOutdated: false, formerEpochs: new Set(), seq: 0, acked: 0, messages: [] };
}

test("every user with an open message is in due, and any other leaves it at the next wake", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
      await store.clear();
      const model = new Model();
      for (const one of steps) {
        await model.run(one);
        await model.check();
      }
      await model.checkStates();
    }),
    { numRuns },
  );
}, 600_000);
