// Tests that what comes in one call is stored as if each message had come in a call of its own.
// Guarantees: random messages to few users, whose inboxes fill and who reach their limit; the same state and the same
// deliveries, both ways.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import { waitFor } from "../../testing/wait-for.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import type { AcceptResult } from "./accept-answers.js";
import { MessageAccepter } from "./accept-batch.js";

const NODE = "push-node-1.lz4k2abc";
const START_MS = 1_800_000_000_000;

let store: OpenStore;
let scripts: SteppedScripts;
beforeAll(async () => {
  store = await openStore();
  scripts = new SteppedScripts(store.redis);
});
afterAll(() => store.close());

const sent = fc.record({
  userId: fc.constantFrom("held", "held", "away"),
  id: fc.integer({ min: 0, max: 15 }),
  ttlMs: fc.constantFrom(5_000, 60_000, 60_000),
  fingerprint: fc.constantFrom("f", "g"),
  fallback: fc.constantFrom("offline" as const, "always" as const),
  notification: fc.constantFrom("", `{"title":"t"}`),
});
type Sent = typeof sent extends fc.Arbitrary<infer Value> ? Value : never;
const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.array(sent, { minLength: 1, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.constant("ack" as const) },
    { weight: 1, arbitrary: fc.constant("later" as const) },
  ),
  { minLength: 1, maxLength: 6 },
);

test("many messages in one call do what one call each does", async () => {
  const limits = { inboxCap: fc.integer({ min: 3, max: 20 }), receiveLimit: fc.constantFrom(0, 6) };
  await fc.assert(
    fc.asyncProperty(steps, fc.record(limits), async (todo, options) => {
      await store.clear();
      let nowMs = START_MS;
      await scripts.setNow(nowMs);
      const ways = await Promise.all([openWay(0, options), openWay(1, options)]);
      for (const step of todo) {
        if (step === "later") {
          await scripts.setNow((nowMs += 86_400_000));
        } else if (step === "ack") {
          for (const { ack } of ways) await ack();
        } else {
          const [together, alone] = ways;
          const atOnce = await Promise.all(step.map((one) => together.accept(one)));
          const oneByOne: string[] = [];
          for (const one of step) oneByOne.push(await alone.accept(one));
          expect(atOnce).toEqual(oneByOne);
        }
      }
      const stored = await store.snapshot();
      const [first, second] = await Promise.all(ways.map(({ state }) => state(stored)));
      expect(first).toEqual(second);
    }),
    { numRuns: 30 },
  );
});

/** A partition of its own, in which one user is connected. */
async function openWay(partition: number, options: { inboxCap: number; receiveLimit: number }) {
  const { redis, partitions } = store;
  const keys = partitions[partition];
  if (keys === undefined) throw new Error(`no partition ${partition}`);
  await redis.zadd(keys.routes("held"), START_MS * 2, `${START_MS}/${NODE}/connection/web`);
  const heard = await store.listen(keys.channel + NODE);
  const accepter = new MessageAccepter({
    ...options,
    scripts: scripts as unknown as ScriptRunner,
    partitions,
    ackTimeoutMs: 10_000,
    readyCap: 100_000,
    handOver: "accept",
    maxInFlight: 1,
  });
  const epochs = async (): Promise<string[]> => {
    const found = ["held", "away"].map((userId) => redis.hget(keys.user(userId), "epoch"));
    return (await Promise.all(found)).filter((epoch) => epoch !== null);
  };
  /** Without what differs by chance: epochs, the partition's name, the ids that Redis gives by its own clock. */
  const plain = (text: string, known: readonly string[]): string =>
    known
      .reduce((rest, epoch) => rest.replaceAll(epoch, "EPOCH"), text)
      .replaceAll(`{p${partition}}`, "{p}")
      .replaceAll(/"\d{13}-\d+"/g, '"ID"');
  return {
    accept: async ({ id, ...one }: Sent): Promise<string> => {
      const parts = { ...one, id: `m_${one.userId}_${id}`, partition, attempt: "a" };
      const result: AcceptResult = await accepter.accept(message(parts));
      return plain(JSON.stringify(result), await epochs());
    },
    ack: async (): Promise<void> => {
      for (const userId of ["held", "away"]) {
        const seq = await redis.hget(keys.user(userId), "seq");
        if (seq !== null) await redis.hset(keys.user(userId), "acked", seq);
      }
    },
    state: async (stored: Awaited<ReturnType<OpenStore["snapshot"]>>) => {
      const known = await epochs();
      const lines = (): string[] =>
        heard.flatMap((text) => text.split("\n").filter((line) => line !== "deliver"));
      const sentToNode = Number(await redis.hget(keys.user("held"), "seq"));
      await waitFor(() => lines().length >= sentToNode, { what: "the deliveries" });
      const values = Object.entries(stored).filter(([key]) => key.includes(`{p${partition}}`));
      const texts = values.map(([key, { value }]) =>
        // A call stores each user's messages side by side: of several users' messages no order is promised.
        /:(ready|fallback:.*)$/.test(key) && Array.isArray(value)
          ? [key, ...value.map((entry) => plain(JSON.stringify(entry), known)).sort()]
          : [key, plain(JSON.stringify(value), known)],
      );
      return [
        ...texts.map((text) => text.map((part) => plain(part, known))),
        plain(JSON.stringify(lines()), known),
      ];
    },
  };
}
