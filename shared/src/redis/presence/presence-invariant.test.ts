// Tests presence against a small model: nodes that join, leave, are suspended and die, calls that are repeated, lost or
// late, masters that have lost their last writes, in random orders.
// Guarantees: after every step the counts and lists are the sum of the holders' last reports; in the end nobody is
// missing, and no ghost is left.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { takePartition } from "../partitions/partition-lease.js";
import { listPresence, readPresence } from "./read-presence.js";
import { findGoneHolders, removeHolder } from "./remove-holder.js";
import { holderName, renewHolder, reportPresence, type PresenceHolder } from "./report-presence.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

const numRuns = sized(2_000, 50);
const nodes = ["n1", "n2", "n3"] as const;
const topics = ["room.1", "room.2"] as const;
const users = ["alice", "bob", "carol"] as const;
type Node = (typeof nodes)[number];
const leaseMs = 3_600_000;

type Table<T> = Map<string, T>;
/** topic -> user -> connections */
type Held = Table<Table<number>>;

type Step =
  | {
      readonly do: "change";
      readonly node: Node;
      readonly topic: string;
      readonly user: string;
      readonly to: number;
    }
  | { readonly do: "report"; readonly node: Node; readonly how: "once" | "twice" | "lost" | "answer-lost" }
  | { readonly do: "late"; readonly node: Node; readonly which: number }
  | { readonly do: "renew" | "pause" | "die"; readonly node: Node }
  | { readonly do: "walk"; readonly maxUsers: number }
  | { readonly do: "save" | "restore" | "other-master" };

const node = fc.constantFrom(...nodes);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 24,
    arbitrary: fc.record({
      do: fc.constant("change" as const),
      node,
      topic: fc.constantFrom(...topics),
      user: fc.constantFrom(...users),
      // -1: not there any more
      to: fc.integer({ min: -1, max: 2 }),
    }),
  },
  {
    weight: 18,
    arbitrary: fc.record({
      do: fc.constant("report" as const),
      node,
      how: fc.constantFrom("once", "once", "twice", "lost", "answer-lost"),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("late" as const), node, which: fc.nat(20) }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constantFrom("renew" as const, "pause" as const), node }) },
  {
    weight: 9,
    arbitrary: fc.record({ do: fc.constant("walk" as const), maxUsers: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("die" as const), node }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("save" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("restore" as const, "other-master" as const) }) },
);

/** A push node as the store sees it. */
class TestNode {
  readonly held: Held = new Map();
  readonly dirty = new Set<string>();
  readonly calls: (() => Promise<unknown>)[] = [];
  isAlive = true;
  #number = 0;
  #version = 0;
  #written = 0;
  #former: PresenceHolder | undefined;
  #isKnown = false;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  get holder(): PresenceHolder {
    return { node: this.#name, number: this.#number };
  }

  change(topic: string, user: string, to: number): void {
    if (to >= 0) entryOf(this.held, topic).set(user, to);
    else this.held.get(topic)?.delete(user);
    this.dirty.add(`${topic}\t${user}`);
  }

  async renew(): Promise<void> {
    if (!this.#isKnown) return this.#begin();
    const renewal = { holder: this.holder, leaseMs, written: this.#written };
    if ((await this.#call(() => renewHolder(store.scripts, store.keys, renewal))) === "unknown") {
      await this.#begin();
    }
  }

  async report(how: "once" | "twice" | "lost" | "answer-lost"): Promise<void> {
    if (!this.#isKnown) await this.#begin();
    const dirty = [...this.dirty];
    const report = {
      holder: this.holder,
      version: ++this.#version,
      written: this.#written,
      former: this.#former,
      topics: topics.flatMap((topic) => {
        const some = dirty
          .filter((one) => one.startsWith(`${topic}\t`))
          .map((one) => one.split("\t")[1] ?? "");
        return some.length === 0
          ? []
          : [{ topic, users: some.map((user) => [user, this.held.get(topic)?.get(user)] as const) }];
      }),
    };
    const call = (): Promise<unknown> => reportPresence(store.scripts, store.keys, report);
    if (how === "lost") {
      this.calls.push(call);
      return;
    }
    const answer = await this.#call(call);
    if (how === "twice") expect(await call()).not.toBe("ok");
    if (answer === "unknown") {
      this.#isKnown = false;
      return;
    }
    expect(answer).toBe("ok");
    if (how === "answer-lost") return;
    this.#written = report.version;
    for (const one of dirty) this.dirty.delete(one);
    const [holder, former] = [this.holder, this.#former];
    if (former === undefined) return;
    const end = { holder, leaseMs, written: report.version, former: { holder: former, leaseMs: 0 } };
    if ((await this.#call(() => renewHolder(store.scripts, store.keys, end))) === "ok")
      this.#former = undefined;
    else this.#isKnown = false;
  }

  async #begin(): Promise<void> {
    const former = this.#number === 0 ? undefined : this.holder;
    this.#number++;
    this.#written = 0;
    this.#former = former;
    for (const [topic, held] of this.held)
      for (const user of held.keys()) this.dirty.add(`${topic}\t${user}`);
    const begin = {
      holder: this.holder,
      leaseMs,
      begins: true,
      ...(former === undefined ? {} : { former: { holder: former, leaseMs } }),
    };
    expect(await this.#call(() => renewHolder(store.scripts, store.keys, begin))).toBe("ok");
    this.#isKnown = true;
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    return call();
  }
}

function entryOf(held: Held, topic: string): Table<number> {
  const known = held.get(topic) ?? new Map<string, number>();
  held.set(topic, known);
  return known;
}

class World {
  readonly nodes = new Map(nodes.map((name) => [name, new TestNode(name)]));
  readonly #token: string;
  #saved: Map<string, Buffer> | undefined;

  constructor(token: string) {
    this.#token = token;
  }

  async run(one: Step): Promise<void> {
    switch (one.do) {
      case "change":
        return this.nodeOf(one.node).change(one.topic, one.user, one.to);
      case "report":
        if (this.nodeOf(one.node).isAlive) await this.nodeOf(one.node).report(one.how);
        return;
      case "late": {
        const { calls } = this.nodeOf(one.node);
        await calls[one.which % Math.max(1, calls.length)]?.();
        return;
      }
      case "renew":
        if (this.nodeOf(one.node).isAlive) await this.nodeOf(one.node).renew();
        return;
      case "die":
        this.nodeOf(one.node).isAlive = false;
        return this.#endLease(this.nodeOf(one.node).holder);
      case "pause":
        return this.#endLease(this.nodeOf(one.node).holder);
      case "walk":
        await this.walk(one.maxUsers);
        return;
      case "save":
        this.#saved = await saveAll();
        return;
      case "restore":
        if (this.#saved !== undefined) await restoreAll(this.#saved);
        return this.#otherMaster();
      case "other-master":
        return this.#otherMaster();
    }
  }

  nodeOf(name: Node): TestNode {
    const found = this.nodes.get(name);
    if (found === undefined) throw new Error(name);
    return found;
  }

  /** @returns whether anything is left to walk */
  async walk(maxUsers: number): Promise<boolean> {
    const { holders } = await findGoneHolders(store.scripts, store.keys, 10);
    for (const holder of holders) {
      const before = await heldOf(holder);
      const answer = await removeHolder(store.scripts, store.keys, this.#token, holder, {
        settleMs: 0,
        maxUsers,
      });
      if (answer.outcome !== "more" && answer.outcome !== "done") throw new Error(answer.outcome);
      expect(before.length - (await heldOf(holder)).length).toBe(Math.min(maxUsers, before.length));
      expect(answer.users).toBe(Math.min(maxUsers, before.length));
    }
    return holders.length > 0;
  }

  /** Everybody says what they hold; whoever is dead ends. */
  async settle(): Promise<void> {
    for (const one of this.nodes.values()) {
      if (!one.isAlive) await this.#endLease(one.holder);
      // Twice where it must begin anew first.
      for (let i = 0; one.isAlive && i < 3; i++) {
        await one.renew();
        await one.report("once");
      }
    }
    const living = new Set(
      [...this.nodes.values()].filter(({ isAlive }) => isAlive).map(({ holder }) => holderName(holder)),
    );
    for (const holder of await store.redis.zrange(store.keys.presenceLeases, "0", "-1")) {
      // What a late call began ends with its lease.
      if (!living.has(holder)) await store.redis.zadd(store.keys.presenceLeases, "XX", 1, holder);
    }
    while (await this.walk(2));
  }

  async #endLease(holder: PresenceHolder): Promise<void> {
    await store.redis.zadd(store.keys.presenceLeases, "XX", 1, holderName(holder));
  }

  async #otherMaster(): Promise<void> {
    await store.redis.hset(store.keys.generation, "replid", "0".repeat(40));
  }
}

async function heldOf(holder: PresenceHolder): Promise<string[]> {
  const found: string[] = [];
  for (const topic of topics) {
    const held = await store.redis.hgetall(store.keys.presenceOf(holderName(holder), topic));
    found.push(...Object.keys(held).map((user) => `${topic} ${user}`));
  }
  return found;
}

async function saveAll(): Promise<Map<string, Buffer>> {
  const saved = new Map<string, Buffer>();
  for (const key of await store.redis.keys("*")) {
    // The dispatcher's token is not what is tested here.
    if (key !== store.keys.owner) saved.set(key, await store.redis.dumpBuffer(key));
  }
  return saved;
}

async function restoreAll(saved: ReadonlyMap<string, Buffer>): Promise<void> {
  const others = (await store.redis.keys("*")).filter((key) => key !== store.keys.owner);
  if (others.length > 0) await store.redis.del(...others);
  for (const [key, value] of saved) await store.redis.restore(key, 0, value);
}

/** What the holders' own keys add up to. */
async function sumUp(topic: string): Promise<{ users: [string, number][]; connections: number }> {
  const sums = new Map<string, number>();
  const keys = await store.redis.keys(store.keys.presenceOf("*", topic));
  for (const held of await Promise.all(keys.map((key) => store.redis.hgetall(key)))) {
    for (const [user, connections] of Object.entries(held)) {
      sums.set(user, (sums.get(user) ?? 0) + Number(connections));
    }
  }
  return shown(sums);
}

function shown(sums: ReadonlyMap<string, number>): { users: [string, number][]; connections: number } {
  const users = [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([user, sum]): [string, number] => [user, Math.max(1, sum)]);
  return { users, connections: users.reduce((all, [, one]) => all + one, 0) };
}

async function expectPresence(expected: (topic: string) => Promise<ReturnType<typeof shown>>): Promise<void> {
  const asked = topics.map((topic) => ({ topic, wantsList: true }));
  const [read, ...each] = await Promise.all([
    readPresence(store.scripts, store.keys, asked),
    ...topics.map((topic) =>
      Promise.all([
        expected(topic),
        listPresence(store.scripts, store.keys, topic, { after: "", limit: 100 }),
        store.redis.exists(store.keys.presenceCounts(topic)),
      ]),
    ),
  ]);
  for (const [i, [{ users, connections }, page, isIndexed]] of each.entries()) {
    expect(read[i]).toEqual({ users: users.length, connections, here: users.map(([user]) => user) });
    expect(page.items.map(({ userId, connections }) => [userId, connections])).toEqual(users);
    expect(isIndexed).toBe(users.length > 0 ? 1 : 0);
  }
}

test(
  "the counts match what the holders hold, whatever happens in whatever order",
  { timeout: 300_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await store.clear();
        const lease = await takePartition(store.scripts, store.keys, "d1", leaseMs);
        const world = new World(lease.outcome === "held" ? lease.token : "");
        for (const one of steps) {
          await world.run(one);
          await expectPresence(sumUp);
        }
        await world.settle();
        await expectPresence(async (topic) => {
          const sums = new Map<string, number>();
          for (const { isAlive, held } of world.nodes.values()) {
            for (const [user, count] of (isAlive ? held.get(topic) : undefined) ?? []) {
              sums.set(user, (sums.get(user) ?? 0) + count);
            }
          }
          return shown(sums);
        });
        // Every key of a node that is gone went with it.
        const dead = [...world.nodes.values()].filter(({ isAlive }) => !isAlive);
        for (const { holder } of dead) {
          expect(await store.redis.keys(`*${holder.node}/*`)).toEqual([]);
        }
      }),
      { numRuns },
    );
  },
);
