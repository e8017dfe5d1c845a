// Tests that accept-plain.lua stores plain messages as accept.lua stores every other one.
// Guarantees: random messages to users with none, one or two nodes, whose inboxes fill, who reach their limit, are
// erased, or lose their hash, while Redis restarts; the same answers, the same state and the same deliveries, whether
// they come together or one by one, and whichever script stores them.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import { waitFor } from "../../testing/wait-for.js";
import { allPartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { MessageAccepter } from "./accept-batch.js";

const NODES = ["push-node-1.lz4k2abc", "push-node-2.lz4k2abd"];
/** Nobody listens to them. */
const DEAF_NODES = ["push-node-3.lz4k2abe", "push-node-4.lz4k2abf"];
const NODES_OF = {
  away: [],
  held: NODES.slice(0, 1),
  twice: [...DEAF_NODES.slice(0, 1), ...NODES],
  unheard: DEAF_NODES,
};
const USERS = Object.keys(NODES_OF) as (keyof typeof NODES_OF)[];
const START_MS = 1_800_000_000_000;
const DAY_MS = 86_400_000;

let store: OpenStore;
let scripts: SteppedScripts;
beforeAll(async () => {
  store = await openStore();
  scripts = new SteppedScripts(store.redis);
});
afterAll(() => store.close());

const sent = fc.record({ userId: fc.constantFrom(...USERS), id: fc.integer({ min: 0, max: 9 }) });
type Sent = typeof sent extends fc.Arbitrary<infer Value> ? Value : never;
const messages = fc.record({
  ttlMs: fc.constantFrom(5_000, 60_000, 7_200_000),
  messages: fc.array(sent, { minLength: 1, maxLength: 15 }),
});
const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: messages },
    {
      weight: 3,
      arbitrary: fc.constantFrom("ack", "take out", "later", "much later", "earlier", "restart" as const),
    },
    { weight: 1, arbitrary: fc.record({ forget: fc.constantFrom(...USERS), inbox: fc.boolean() }) },
  ),
  { minLength: 1, maxLength: 12 },
);
const STEP_MS = { later: 700, "much later": DAY_MS, earlier: -30_000 };

test("plain messages are stored as all others are, together and one by one", async () => {
  const limits = { inboxCap: fc.integer({ min: 2, max: 9 }), receiveLimit: fc.constantFrom(0, 6) };
  await fc.assert(
    fc.asyncProperty(steps, fc.record(limits), async (todo, options) => {
      await store.clear();
      let nowMs = START_MS;
      await scripts.setNow(nowMs);
      // An attempt's name makes a message one that is not plain.
      const ways = [
        await openWay(0, "-", options),
        await openWay(1, "-", options),
        await openWay(2, "f", options),
      ] as const;
      const [together, ...alone] = ways;
      for (const step of todo) {
        if (typeof step === "string") {
          if (step in STEP_MS) await scripts.setNow((nowMs += STEP_MS[step as keyof typeof STEP_MS]));
          if (step === "ack") for (const { ack } of ways) await ack();
          if (step === "take out") for (const { takeOut } of ways) await takeOut();
          if (step === "restart") for (const { restart } of ways) await restart();
        } else if ("forget" in step) {
          for (const { forget } of ways) await forget(step.forget, step.inbox);
        } else {
          const { ttlMs } = step;
          const answers = await Promise.all(step.messages.map((one) => together.accept(one, ttlMs)));
          for (const { accept } of alone) {
            const oneByOne: unknown[] = [];
            for (const one of step.messages) oneByOne.push(await accept(one, ttlMs));
            expect(oneByOne).toEqual(answers);
          }
        }
      }
      const stored = await store.snapshot();
      const states = await Promise.all(ways.map(({ state }) => state(stored)));
      expect(states[1]).toEqual(states[0]);
      expect(states[2]).toEqual(states[0]);
    }),
    { numRuns: 40 },
  );
});

test("a call that is refused in the middle gives no number twice", async () => {
  await store.clear();
  const accepter = store.accepter();
  const send = (...ids: readonly string[]) => Promise.all(ids.map((id) => accepter.accept(message({ id }))));
  await send("m_old");
  // As an erased user's, whose record is still there: it is replaced, with what was tried for its namesake.
  await store.redis.del(store.keys.user("u1"), store.keys.inbox("u1"));
  await send("m_0");
  await store.redis.call("ACL", "SETUSER", "default", "-unlink");
  try {
    await expect(send("m_1", "m_2", "m_old")).rejects.toThrow();
  } finally {
    await store.redis.call("ACL", "SETUSER", "default", "+unlink");
  }
  expect(await send("m_1", "m_old", "m_3")).toMatchObject([
    { outcome: "exists", record: { seq: 2 } },
    { outcome: "stored", seq: 4 },
    { outcome: "stored", seq: 5 },
  ]);
  expect(await store.redis.xlen(store.keys.inbox("u1"))).toBe(5);
});

/** A partition of its own. */
async function openWay(
  partition: number,
  identity: "-" | "f",
  options: { readonly inboxCap: number; readonly receiveLimit: number },
) {
  const { redis } = store;
  const partitions = allPartitionKeys(3);
  const keys = partitions[partition];
  if (keys === undefined) throw new Error(`no partition ${partition}`);
  let deliveries = 0;
  const connect = async (): Promise<void> => {
    for (const userId of USERS)
      for (const node of NODES_OF[userId])
        await redis.zadd(keys.routes(userId), START_MS * 2, `${START_MS}/${node}/connection/web`);
  };
  await connect();
  const heard = await Promise.all(NODES.map((node) => store.listen(keys.channel + node)));
  const accepter = new MessageAccepter({
    ...options,
    scripts: scripts as unknown as ScriptRunner,
    partitions,
    ackTimeoutMs: 10_000,
    readyCap: 100_000,
    handOver: "accept",
    maxInFlight: 1,
  });
  /** Without what differs by chance or is meant to: epochs, the partition, the ids of Redis' own clock, the identity. */
  const plain = (value: unknown): unknown =>
    JSON.parse(
      JSON.stringify(value)
        .replaceAll(/[\w-]{8}\.([\w-]{8}|0)/g, (_, part) => (part === "0" ? "EPOCH.0" : "EPOCH.n"))
        .replaceAll(`{p${partition}}`, "{p}")
        .replaceAll(/"\d{13}-\d+"/g, '"ID"')
        .replaceAll(String.raw`\tf\tf`, String.raw`\t-\t-`)
        .replaceAll('"fingerprint":"f","attempt":"f"', '"fingerprint":"-","attempt":"-"'),
    );
  return {
    accept: async ({ id, userId }: Sent, ttlMs: number): Promise<unknown> => {
      const parts = { userId, ttlMs, id: `m_${userId}_${id}`, fingerprint: identity, attempt: identity };
      const result = await accepter.accept(message({ ...parts, partition }));
      if (result.outcome === "stored")
        deliveries += NODES_OF[userId].filter((node) => NODES.includes(node)).length;
      return plain(result);
    },
    ack: async (): Promise<void> => {
      for (const userId of USERS) {
        const seq = await redis.hget(keys.user(userId), "seq");
        if (seq !== null) await redis.hset(keys.user(userId), "acked", seq);
      }
    },
    /** As a recall does: the numbers stay. */
    takeOut: async (): Promise<void> => {
      for (const userId of USERS) await redis.xtrim(keys.inbox(userId), "MAXLEN", 1);
    },
    /** A master with another history. */
    restart: () => redis.hset(keys.generation, "replid", "another"),
    forget: async (userId: string, inboxToo: boolean): Promise<void> => {
      await redis.del(keys.user(userId), ...(inboxToo ? [keys.inbox(userId)] : []));
    },
    state: async (stored: Awaited<ReturnType<OpenStore["snapshot"]>>): Promise<unknown> => {
      const lines = (): string[][] =>
        heard.map((texts) => texts.flatMap((text) => text.split("\n").filter((line) => line !== "deliver")));
      await waitFor(() => lines().flat().length >= deliveries, { what: "the deliveries" });
      const values = Object.entries(stored).filter(([key]) => key.includes(`{p${partition}}`));
      const state = values.map(([key, { value, endsAtMs }]) => [
        plain(key),
        // A call stores each user's messages side by side: of several users' messages no order is promised.
        key === keys.ready
          ? byUser(plain(value) as [string, string[]][], ([, [, text = ""]]) => text)
          : plain(value),
        endsAtMs === -1 ? "stays" : Math.round((endsAtMs - Date.now()) / 3_600_000),
      ]);
      return { state, lines: (plain(lines()) as string[][]).map((ofNode) => byUser(ofNode, (line) => line)) };
    },
  };
}

/** A user's in their order. */
function byUser<T>(items: readonly T[], textOf: (item: T) => string): T[] {
  const userOf = (item: T): string => textOf(item).split("\t")[0] ?? "";
  return items.toSorted((a, b) => userOf(a).localeCompare(userOf(b)));
}
