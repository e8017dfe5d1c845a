// Tests events against the states that a sender would ask for, over random steps on a real Redis.
// Guarantees: whatever happens to a user's messages, in whatever order, each end has exactly its event.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { eventTypes } from "../../protocol/events/event-types.js";
import { checkEvents } from "../../testing/checks/check-events.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { readFallback, type TakenEntry } from "../fallback/fallback-queue.js";
import { settleFallback } from "../fallback/settle-fallback.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../routes/connect-routes.js";
import { beginSend } from "../recall/begin-send.js";
import { cancelMessage } from "../recall/cancel-message.js";
import { readPartitionEvents } from "./read-partition-events.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore({ events: eventTypes })));
afterAll(() => store.close());

interface Run {
  readonly ids: string[];
  readonly taken: TakenEntry[];
  epoch: string;
}

type Step = (run: Run) => Promise<void>;
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)];

const accept =
  (collapseKey: string | undefined, ttlMs: number, always: boolean): Step =>
  async (run) => {
    const id = `m${run.ids.length}`;
    const notification = collapseKey === undefined ? "{}" : `{"title":"t","collapseKey":"${collapseKey}"}`;
    const result = await store.accepter().accept(
      message({
        id,
        ttlMs,
        notification,
        fallback: always ? "always" : "offline",
        ...(collapseKey === undefined ? {} : { collapseKey }),
      }),
    );
    if (result.outcome !== "stored") throw new Error(result.outcome);
    run.ids.push(id);
    run.epoch = result.epoch;
  };
const ack =
  (back: number): Step =>
  async ({ ids, epoch }) => {
    const seq = Math.max(0, ids.length - back);
    if (seq > 0) await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 100);
  };
const resume =
  (back: number): Step =>
  async ({ ids, epoch }) => {
    const position = { epoch, since: Math.max(0, ids.length - back) };
    const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
    if (ids.length > 0) await connectRoute(store.scripts, store.keys, { ...route, position }, routeLimits);
  };
const cancel =
  (at: number): Step =>
  async ({ ids }) => {
    const id = pick(ids, at);
    if (id !== undefined) await cancelMessage(store.scripts, store.scripts, store.keys, id);
  };
const look =
  (at: number): Step =>
  async ({ ids }) => {
    const id = pick(ids, at);
    // Writes the end of one that has expired.
    if (id !== undefined) await readMessage(store.scripts, store.keys, id);
  };
const take: Step = async ({ taken }) => {
  const entries = await readFallback(store.scripts, { keys: store.keys, priority: "normal" }, "w1", 1);
  for (const entry of entries) {
    taken.push(entry);
    await beginSend(store.scripts, store.keys, entry.message, { name: "s", keepMs: 60_000 });
  }
};
const settle =
  (at: number, outcome: "taken" | "dropped" | "failed"): Step =>
  async ({ taken }) => {
    const entry = pick(taken, at);
    if (entry === undefined) return;
    const settlement =
      outcome === "taken"
        ? { outcome, channel: "apns" }
        : outcome === "failed"
          ? ({ outcome, cause: "rejected", reason: "no" } as const)
          : { outcome };
    const how = { attempts: 1, notes: [], deadLettersCap: 100, sendName: "s" };
    await settleFallback(store.scripts, entry, settlement, how);
  };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(undefined, "k", "l"), fc.constantFrom(1, 60_000), fc.boolean())
      .map(([key, ttlMs, always]) => accept(key, ttlMs, always)),
  },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 4 }).map(ack) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 4 }).map(resume) },
  { weight: 1, arbitrary: fc.nat(20).map(cancel) },
  { weight: 1, arbitrary: fc.nat(20).map(look) },
  { weight: 2, arbitrary: fc.constant(take) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(9), fc.constantFrom("taken", "dropped", "failed"))
      .map(([at, outcome]) => settle(at, outcome)),
  },
);

test("each end has exactly its event", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 30 }), async (steps) => {
      await store.clear();
      const run: Run = { ids: [], taken: [], epoch: "" };
      for (const one of steps) await one(run);
      const states = [];
      for (const id of run.ids) {
        const found = await readMessage(store.scripts, store.keys, id);
        states.push({ id, state: found?.state ?? "missing" });
      }
      const { events } = await readPartitionEvents(store.scripts, store.keys, "oldest", { limit: 1_000 });
      expect(
        checkEvents(
          events.map(({ item }) => item),
          states,
        ),
      ).toEqual([]);
    }),
    { numRuns: sized(150, 60) },
  );
});
