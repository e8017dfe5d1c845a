// Tests what connections are told about who is there.
// Guarantees: a newcomer is told at once, and finds itself; then at most once a second, by one read for all, and only
// news; a connection that does not ask, or cannot receive it, is told nothing.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { TopicPresence } from "@petrel/shared/protocol/topics/topic-rules";
import { renewHolder, reportPresence } from "@petrel/shared/redis/presence/report-presence";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createStoppedClock, type SteppedClock } from "../testing/stepped-clock.js";
import type { PresenceMember } from "./presence-view.js";
import { TellPresence } from "./tell-presence.js";

/** Stands for a Redis that does not answer. */
class Scripts extends ScriptRunner {
  isDown = false;
  failures = 0;

  override run(...args: Parameters<ScriptRunner["run"]>): Promise<string> {
    if (!this.isDown) return super.run(...args);
    this.failures++;
    return Promise.reject(new Error("no answer"));
  }
}

let store: OpenStore;
let scripts: Scripts;
let clock: SteppedClock;
let tell: TellPresence;
/** Topics read. */
let reads: number;
let rule: TopicPresence;
const unwritten = new Set<string>();
beforeAll(async () => {
  store = await openStore();
  scripts = new Scripts(store.redis);
});
beforeEach(async () => {
  await store.clear();
  clock = createStoppedClock();
  reads = 0;
  rule = "list";
  unwritten.clear();
  tell = new TellPresence({
    scripts,
    keysOf: () => store.keys,
    ruleOf: () => rule,
    isWritten: (_topic, userId) => !unwritten.has(userId),
    observer: { read: (topics) => void (reads += topics), told: () => undefined },
    outboundBoundBytes: 1_000,
    clock,
    logger: createLogger({ service: "test", level: "silent" }),
  });
  await renewHolder(store.scripts, store.keys, { holder, leaseMs: 60_000, begins: true });
});
afterEach(() => tell.stop());
afterAll(() => store.close());

const holder = { node: "n1", number: 1 };
let version = 0;

function says(users: Readonly<Record<string, number | undefined>>): Promise<string> {
  const topics = [{ topic: "t", users: Object.entries(users) }];
  return reportPresence(store.scripts, store.keys, { holder, version: ++version, former: undefined, topics });
}

interface TestMember extends PresenceMember {
  readonly told: unknown[];
  waitingBytes: number;
}

function member(userId: string): TestMember {
  const told: unknown[] = [];
  const one = {
    topic: "t",
    told,
    waitingBytes: 0,
    connection: {
      userId,
      isOpen: true,
      get waitingBytes() {
        return one.waitingBytes;
      },
      // Small frames: two bytes of head, or four.
      queue: (frame: Buffer) => {
        const text = frame.toString("utf8");
        told.push(JSON.parse(text.slice(text.indexOf("{"))));
      },
      flush: () => undefined,
    },
  };
  return one;
}

const frame = (here: string[], connections = here.length): unknown => ({
  type: "presence",
  topic: "t",
  users: here.length,
  connections,
  here,
});

const untilTold = (one: TestMember, count: number): Promise<unknown> =>
  waitFor(() => one.told.length >= count, { what: `${count} frames` });

test("tells only the newcomer at once, after its own arrival is written", async () => {
  await says({ bob: 1 });
  const bob = member("bob");
  tell.ask(bob);
  await untilTold(bob, 1);
  clock.step(200);
  unwritten.add("alice");
  const alice = member("alice");
  tell.ask(alice);
  await says({ alice: 1 });
  unwritten.clear();
  tell.written(["t"]);
  await untilTold(alice, 1);
  expect(alice.told).toEqual([frame(["alice", "bob"])]);
  expect(bob.told).toEqual([frame(["bob"])]);
  // A second has passed for Bob.
  clock.step(800);
  await untilTold(bob, 2);
  expect(bob.told[1]).toEqual(frame(["alice", "bob"]));
  expect(reads).toBe(2);
});

test("another one's read does not tell a newcomer whose arrival is not yet written", async () => {
  await says({ bob: 1 });
  unwritten.add("alice");
  const [alice, bob] = [member("alice"), member("bob")];
  tell.ask(alice);
  tell.ask(bob);
  await untilTold(bob, 1);
  await says({ alice: 1 });
  unwritten.clear();
  clock.step(200);
  tell.written(["t"]);
  await untilTold(alice, 1);
  expect(alice.told).toEqual([frame(["alice", "bob"])]);
});

test("then sends at most one frame a second, with all changes, from one read", async () => {
  await says({ alice: 1 });
  const all = ["alice", "bob", "carol"].map(member);
  for (const one of all) tell.ask(one);
  for (const one of all) await untilTold(one, 1);
  for (let i = 1; i <= 5; i++) {
    await says({ alice: i, [`u${i}`]: 1 });
    tell.changed("t");
  }
  // Another topic is read meanwhile, this one is not.
  const other = { ...member("alice"), topic: "other" };
  tell.ask(other);
  await untilTold(other, 1);
  expect(reads).toBe(2);
  clock.step(999);
  await says({ dave: 1 });
  tell.changed("t");
  clock.step(1);
  for (const one of all) await untilTold(one, 2);
  const last = frame(["alice", "dave", "u1", "u2", "u3", "u4", "u5"], 11);
  for (const one of all) expect(one.told.slice(1)).toEqual([last]);
  expect(reads).toBe(3);
});

test("sends nothing if nothing changed", async () => {
  await says({ alice: 1 });
  const alice = member("alice");
  tell.ask(alice);
  await untilTold(alice, 1);
  clock.step(1_000);
  tell.changed("t");
  await waitFor(() => reads === 2, { what: "the read" });
  clock.step(1_000);
  await says({ alice: 2 });
  tell.changed("t");
  await untilTold(alice, 2);
  expect(alice.told[1]).toEqual(frame(["alice"], 2));
});

test("tells a socket that does not drain later, with the state then", async () => {
  await says({ alice: 1 });
  const [slow, quick] = [member("alice"), member("alice")];
  tell.ask(slow);
  tell.ask(quick);
  await untilTold(slow, 1);
  slow.waitingBytes = 1_001;
  clock.step(1_000);
  await says({ bob: 1 });
  tell.changed("t");
  await untilTold(quick, 2);
  expect(slow.told).toHaveLength(1);
  clock.step(1_000);
  await says({ carol: 1 });
  tell.changed("t");
  await untilTold(quick, 3);
  slow.waitingBytes = 0;
  clock.step(1_000);
  await untilTold(slow, 2);
  expect(slow.told).toEqual([frame(["alice"]), frame(["alice", "bob", "carol"])]);
});

test("finds an unannounced change at the next check", async () => {
  await says({ alice: 1 });
  const alice = member("alice");
  tell.ask(alice);
  await untilTold(alice, 1);
  await says({ bob: 1 });
  clock.step(1_000);
  tell.lookAgain();
  await untilTold(alice, 2);
  expect(alice.told[1]).toEqual(frame(["alice", "bob"]));
});

test("sends and reads nothing for a client that no longer asks", async () => {
  await says({ alice: 1 });
  const alice = member("alice");
  tell.ask(alice);
  await untilTold(alice, 1);
  tell.drop(alice);
  clock.step(1_000);
  tell.changed("t");
  tell.lookAgain();
  expect(tell.size).toBe(0);
  // It asks again: a newcomer.
  await says({ bob: 1 });
  tell.ask(alice);
  await untilTold(alice, 2);
  expect(reads).toBe(2);
});

test("follows the rule: counts only, or nothing at all", async () => {
  await says({ alice: 1, bob: 2 });
  rule = "count";
  const alice = member("alice");
  tell.ask(alice);
  await untilTold(alice, 1);
  expect(alice.told).toEqual([{ type: "presence", topic: "t", users: 2, connections: 3 }]);
  rule = "off";
  clock.step(1_000);
  await says({ carol: 1 });
  tell.changed("t");
  rule = "list";
  clock.step(1_000);
  tell.changed("t");
  await untilTold(alice, 2);
  expect(alice.told[1]).toEqual(frame(["alice", "bob", "carol"], 4));
});

test("after a rule said off, tells nobody before its own arrival is written again", async () => {
  await says({ bob: 1, carol: 1 });
  const [bob, carol] = [member("bob"), member("carol")];
  tell.ask(bob);
  tell.ask(carol);
  await untilTold(bob, 1);
  await untilTold(carol, 1);
  // Both were dropped, and return with the new rules; nothing of Bob is written yet.
  await says({ bob: undefined });
  unwritten.add("bob");
  clock.step(1_000);
  tell.rulesChanged();
  await untilTold(carol, 2);
  await says({ bob: 1, dave: 1 });
  unwritten.clear();
  clock.step(1_000);
  tell.changed("t");
  await untilTold(bob, 2);
  expect(bob.told[1]).toEqual(frame(["bob", "carol", "dave"]));
});

test("tells many in slices, each once", async () => {
  await says({ alice: 1 });
  const all = Array.from({ length: 600 }, () => member("alice"));
  for (const one of all) tell.ask(one);
  await waitFor(() => all.every(({ told }) => told.length === 1), { what: "everybody" });
  clock.step(1_000);
  await says({ bob: 1 });
  tell.changed("t");
  await waitFor(() => all.every(({ told }) => told.length === 2), { what: "everybody again" });
  expect(reads).toBe(2);
});

test("reads again if Redis does not answer", async () => {
  await says({ alice: 1 });
  const alice = member("alice");
  tell.ask(alice);
  await untilTold(alice, 1);
  await says({ bob: 1 });
  scripts.isDown = true;
  tell.changed("t");
  clock.step(1_000);
  await waitFor(() => scripts.failures > 0, { what: "a read that fails" });
  scripts.isDown = false;
  clock.step(1_000);
  await untilTold(alice, 2);
  expect(alice.told[1]).toEqual(frame(["alice", "bob"]));
});
