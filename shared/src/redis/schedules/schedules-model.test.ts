// Tests the schedules of some users against a model, on a Redis whose clock the test moves.
// Guarantees covered: whatever is scheduled, sent again, taken back, promoted, acknowledged and erased, in any order: each
// message is in one place, none is early, a user's messages keep the order of time, each has one end.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { array, assert, asyncProperty, constant, constantFrom, integer, oneof, record } from "fast-check";
import { expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { decodeInboxMessage, priorities, type Priority } from "../../protocol/messages/stored-message.js";
import { openShiftedClock } from "../../testing/faults/shifted-clock.js";
import { waitFor } from "../../testing/wait-for.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { DevicesStore } from "../devices/devices-store.js";
import { UserEraser } from "../erasure/erase-user.js";
import { DeadLettersStore } from "../fallback/dead-letters-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readMessage } from "../inbox/read-message.js";
import { cancelSchedule } from "./cancel-schedule.js";
import { listSchedules } from "./list-schedules.js";
import { findDueSchedules, promoteMessages, type PromoteRules } from "./promote-schedules.js";
import { MessageScheduler } from "./schedule-messages.js";

const RUNS = sized(300, 35);
const HOUR_MS = 3_600_000;
/** All steps of a run together are shorter than an end is kept. */
const STEP_MS = HOUR_MS / 6;
const rules: PromoteRules = {
  ackTimeoutMs: 10_000,
  inboxCap: 3,
  readyCap: 100_000,
  fallbackCap: 100,
  recordKeepMs: 5_000 * HOUR_MS,
  receiveLimit: 0,
  deadLettersCap: 1_000,
};

const user = integer({ min: 0, max: 2 });
const step = oneof(
  {
    weight: 6,
    arbitrary: record({
      do: constant("schedule" as const),
      user,
      inSteps: integer({ min: 1, max: 4 }),
      lives: integer({ min: 1, max: 3 }),
      priority: constantFrom(...priorities),
    }),
  },
  { weight: 1, arbitrary: record({ do: constant("again" as const), nth: integer({ min: 0, max: 20 }) }) },
  { weight: 2, arbitrary: record({ do: constant("cancel" as const), nth: integer({ min: 0, max: 20 }) }) },
  { weight: 2, arbitrary: record({ do: constant("pass" as const), steps: integer({ min: 0, max: 2 }) }) },
  { weight: 3, arbitrary: record({ do: constant("promote" as const), most: integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: record({ do: constant("ack" as const), user }) },
  { weight: 1, arbitrary: record({ do: constant("replay" as const) }) },
  { weight: 1, arbitrary: record({ do: constant("erase" as const), user }) },
);

interface Known {
  readonly id: string;
  readonly user: number;
  readonly order: number;
  readonly priority: Priority;
  /** When it is due; moves when it is replayed. */
  atMs: number;
  readonly expiresAtMs: number;
  state: "scheduled" | "stored" | "cancelled" | "expired" | "failed" | "erased";
}

/** By time; what is due at one time by priority, then in the order of sending. */
function inOrder(a: Known, b: Known): number {
  return (
    a.atMs - b.atMs || priorities.indexOf(a.priority) - priorities.indexOf(b.priority) || a.order - b.order
  );
}

/** What the scripts are held to. */
class Model {
  readonly all: Known[] = [];
  readonly inbox: string[][] = [[], [], []];
  readonly open: number[] = [0, 0, 0];
  failed: string[] = [];
  orders = 0;

  due(nowMs: number): Known[] {
    return this.all.filter(({ state, atMs }) => state === "scheduled" && atMs <= nowMs).sort(inOrder);
  }

  promote(one: Known, nowMs: number): void {
    if (one.expiresAtMs <= nowMs) one.state = "expired";
    else if ((this.open[one.user] ?? 0) >= rules.inboxCap) {
      one.state = "failed";
      this.failed.push(one.id);
    } else {
      one.state = "stored";
      this.inbox[one.user]?.push(one.id);
      this.open[one.user] = (this.open[one.user] ?? 0) + 1;
    }
  }
}

async function run(
  store: OpenStore,
  clock: { readonly step: (ms: number) => Promise<void> },
  steps: readonly Step[],
) {
  await store.clear();
  const { scripts, keys, redis, partitions } = store;
  const scheduler = new MessageScheduler({ scripts, partitions, maxInFlight: 1, cap: 10_000 });
  const devices = new DevicesStore(scripts, partitions);
  const eraser = new UserEraser({ scripts, partitions: [keys], devices });
  const letters = new DeadLettersStore(scripts, partitions);
  const model = new Model();
  const of = (nth: number): Known | undefined => model.all[nth % Math.max(1, model.all.length)];
  const sent = (one: Known) =>
    scheduler.schedule({
      ...message({
        id: one.id,
        userId: `u${one.user}`,
        fingerprint: one.id,
        priority: one.priority,
        ttlMs: one.expiresAtMs - one.atMs,
      }),
      deliverAtMs: one.atMs,
    });

  for (const one of steps) {
    switch (one.do) {
      case "schedule": {
        const atMs = (await store.nowMs()) + one.inSteps * STEP_MS - (one.inSteps % 2) * 60_000;
        const expiresAtMs = atMs + one.lives * STEP_MS;
        const known: Known = {
          id: `m_${model.all.length}`,
          user: one.user,
          order: model.orders++,
          priority: one.priority,
          atMs,
          expiresAtMs,
          state: "scheduled",
        };
        model.all.push(known);
        expect(await sent(known)).toEqual({ outcome: "scheduled" });
        break;
      }
      case "again": {
        const known = of(one.nth);
        if (known !== undefined && known.state !== "erased")
          expect(await sent(known)).toMatchObject({ outcome: "exists", record: { fingerprint: known.id } });
        break;
      }
      case "cancel": {
        const known = of(one.nth);
        if (known === undefined) break;
        const wins = known.state === "scheduled";
        expect(await cancelSchedule(scripts, keys, `u${known.user}`, known.id)).toBe(
          wins ? "cancelled" : "gone",
        );
        if (wins) known.state = "cancelled";
        break;
      }
      case "pass":
        const fromMs = await store.nowMs();
        await clock.step(one.steps * STEP_MS);
        // Valkey looks at the clock `hz` times a second, not for each command.
        await waitFor(async () => (await store.nowMs()) >= fromMs + one.steps * STEP_MS, {
          what: "the server to see the step",
          everyMs: 5,
        });
        break;
      case "promote": {
        const token = await store.own();
        const { members, nowMs } = await findDueSchedules(scripts, keys, one.most);
        const waiting = model.due(nowMs);
        const ids = members.map((member) => member.split("\t")[0]?.slice(15));
        const due = ids.flatMap((id) => waiting.find((known) => known.id === id) ?? []);
        // Which of them, choose-due.test says; each user's go in order.
        expect(due).toHaveLength(Math.min(one.most, waiting.length));
        for (const of of [0, 1, 2]) {
          const mine = due.filter((known) => known.user === of);
          expect(mine).toEqual(waiting.filter((known) => known.user === of).slice(0, mine.length));
        }
        if (members.length > 0) await promoteMessages(scripts, keys, token, rules, members);
        for (const known of due) model.promote(known, nowMs);
        break;
      }
      case "ack": {
        const [seq = "0", epoch = ""] = await redis.hmget(keys.user(`u${one.user}`), "seq", "epoch");
        if (seq !== null && epoch !== null)
          await ackUsers(scripts, keys, [{ userId: `u${one.user}`, epoch, seq: Number(seq) }], 1_000);
        model.open[one.user] = 0;
        break;
      }
      case "replay": {
        const [letter] = (await letters.list("inbox-full", undefined, 1)).items;
        expect(letter?.message.id).toBe(model.failed.at(-1));
        const known = model.all.find(({ id }) => id === letter?.message.id);
        if (letter === undefined || known === undefined) break;
        const outcome = await letters.replay(letter);
        const nowMs = await store.nowMs();
        expect(outcome).toBe(known.expiresAtMs <= nowMs ? "expired" : "replayed");
        if (outcome === "expired") break;
        model.failed.pop();
        Object.assign(known, { state: "scheduled", atMs: nowMs, order: model.orders++ });
        break;
      }
      case "erase":
        await eraser.erase(`u${one.user}`);
        for (const known of model.all) if (known.user === one.user) known.state = "erased";
        model.failed = model.failed.filter(
          (id) => model.all.find((known) => known.id === id)?.user !== one.user,
        );
        model.inbox[one.user] = [];
        model.open[one.user] = 0;
        break;
    }
  }

  for (const known of model.all) {
    const { id, state } = known;
    const found = await readMessage(scripts, keys, id, 0);
    if (state === "erased") expect(found).toBeUndefined();
    else if (state === "stored") expect(["queued", "delivered"]).toContain(found?.state);
    else expect(found?.state).toBe(state);
  }
  for (const [nth, ids] of model.inbox.entries()) {
    const entries = await redis.xrange(keys.inbox(`u${nth}`), "-", "+");
    const stored = entries.map(([id, [, value]]) => decodeInboxMessage(Number.parseInt(id, 10), value ?? ""));
    expect(stored.map(({ id }) => id)).toEqual(ids);
    expect(stored.map(({ seq }) => seq)).toEqual(ids.map((_, i) => i + 1));
    for (const { id, atMs } of stored)
      expect(atMs).toBeGreaterThanOrEqual(
        model.all.find((known) => known.id === id)?.atMs ?? Number.POSITIVE_INFINITY,
      );
    const { items } = await listSchedules(scripts, keys, `u${nth}`, {
      after: undefined,
      limit: 1_000,
      maxBytes: 1e9,
    });
    const waiting = model.all.filter(({ user: of, state }) => of === nth && state === "scheduled");
    expect(items.map(({ id }) => id)).toEqual(waiting.sort(inOrder).map(({ id }) => id));
  }
  expect(await redis.zcard(keys.scheduled)).toBe(
    model.all.filter(({ state }) => state === "scheduled").length,
  );
  expect(await redis.xlen(keys.deadLetters("inbox-full"))).toBe(model.failed.length);
}

type Step = typeof step extends { readonly generate: (...args: never[]) => { readonly value: infer T } }
  ? T
  : never;

test("any order of steps leaves what the model says", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-clock-"));
  const clock = await openShiftedClock(directory, process.env);
  if (clock === undefined) {
    await rm(directory, { recursive: true, force: true });
    return console.warn("no clock to step here: left out");
  }
  const store = await openStore({ environment: clock.environment, extraArgs: ["--hz", "100"] });
  try {
    await assert(
      asyncProperty(array(step, { minLength: 10, maxLength: 60 }), (steps) => run(store, clock, steps)),
      { numRuns: RUNS },
    );
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
});
