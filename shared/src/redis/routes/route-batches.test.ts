// Tests the calls of a turn: how many there are, and that each connection has its own answer.
// Guarantees: calls are counted where they leave.
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { RouteBatches } from "./route-batches.js";
import { readConnections } from "./route-store.js";
import type { ConnectResult, RouteLimits } from "./connect-routes.js";

let store: OpenStore;
let calls: string[];
let batches: RouteBatches;
let hold: Promise<void> | undefined;
let failure: Error | undefined;
let isStopping = false;
/** Stands still: within a test everything is a crowd once a call has left. */
let nowMs = 0;

class CountingRunner extends ScriptRunner {
  override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    calls.push(name);
    if (failure !== undefined) throw failure;
    const answer = await super.run(name, keys, args);
    await hold;
    return answer;
  }
}

const limits: RouteLimits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 1,
  whenFull: "refuse",
  ackTimeoutMs: 10_000,
};

beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  calls = [];
  hold = undefined;
  failure = undefined;
  isStopping = false;
  batches = new RouteBatches({
    scripts: new CountingRunner(store.redis),
    node: "n1",
    limits,
    isStopping: () => isStopping,
    clock: { monotonicMs: () => nowMs, wallMs: () => Date.now() },
  });
});
afterAll(() => store.close());

function connect(userId: string, partition = 0): Promise<ConnectResult> {
  const keys = store.partitions[partition] ?? store.keys;
  return batches.connect(keys, { userId, connection: `of-${userId}`, platform: "web" });
}

function memberOf(result: ConnectResult): string {
  if (result.outcome !== "connected") throw new Error(result.outcome);
  return result.member;
}

const users = (count: number): string[] => Array.from({ length: count }, (_, i) => `u${i}`);

test("one turn makes a call per partition, and each connection has its own answer", async () => {
  const results = await Promise.all([
    ...users(20).map((user) => connect(user)),
    ...users(20).map((user) => connect(user, 1)),
  ]);
  expect(calls).toEqual(["connect.v7", "connect.v7"]);
  for (const [i, result] of results.entries()) {
    const partition = store.partitions[i < 20 ? 0 : 1] ?? store.keys;
    const userId = `u${i % 20}`;
    const [route] = await readConnections(store.scripts, partition, userId);
    expect(route).toMatchObject({ id: `of-${userId}`, node: "n1", member: memberOf(result) });
  }
});

test("splits more than a call may hold into several, all answered", async () => {
  const results = await Promise.all(users(120).map((user) => connect(user)));
  expect(results.map(({ outcome }) => outcome)).toEqual(users(120).map(() => "connected"));
  expect(calls).toEqual(["connect.v7", "connect.v7", "connect.v7"]);
  calls = [];
  await Promise.all(
    results.map((result, i) =>
      batches.remove(store.keys, { userId: `u${i}`, member: memberOf(result), graceMs: 0 }),
    ),
  );
  expect(calls).toEqual(["leave.v5", "leave.v5", "leave.v5"]);
  expect(await store.redis.exists(...users(120).map((user) => store.keys.routes(user)))).toBe(0);
});

test("reports a user whose keys Redis refuses; the others connect and leave", async () => {
  await store.redis.set(store.keys.user("broken"), "no hash");
  const broken = connect("broken");
  const others = Promise.all(["before", "after"].map((user) => connect(user)));
  await expect(broken).rejects.toThrow("WRONGTYPE");
  const members = (await others).map(memberOf);
  await store.redis.set(store.keys.routes("broken-too"), "no set");
  const gone = ["before", "after"].map((userId, i) =>
    batches.remove(store.keys, { userId, member: members[i] ?? "", graceMs: 0 }),
  );
  const refused = batches.remove(store.keys, { userId: "broken-too", member: "m", graceMs: 0 });
  await expect(refused).rejects.toThrow("WRONGTYPE");
  await Promise.all(gone);
  expect(await readConnections(store.scripts, store.keys, "after")).toEqual([]);
});

test("a leaving connection makes room for one that comes in the same turn, whatever their order", async () => {
  const member = memberOf(await connect("u1"));
  const coming = connect("u1");
  const leaving = batches.remove(store.keys, { userId: "u1", member, graceMs: 3_000 });
  await leaving;
  expect((await coming).outcome).toBe("connected");
});

/** A turn of the event loop, and what is due in it. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

test("sends the first at once; in a crowd the others linger", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const first = connect("u1");
    await turn();
    expect(calls).toEqual(["connect.v7"]);
    await first;
    const second = connect("u2");
    await turn();
    expect(calls).toEqual(["connect.v7"]);
    const third = connect("u3");
    vi.advanceTimersByTime(2);
    expect(calls).toEqual(["connect.v7", "connect.v7"]);
    await Promise.all([second, third]);
  } finally {
    vi.useRealTimers();
  }
});

test("a leave with grace lingers a little, but goes along with earlier leaves; at a stop it goes at once", async () => {
  const members = (await Promise.all(users(3).map((user) => connect(user)))).map(memberOf);
  calls = [];
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const leave = (i: number, graceMs: number): Promise<void> =>
      batches.remove(store.keys, { userId: `u${i}`, member: members[i] ?? "", graceMs });
    const leaving = [leave(0, 3_000)];
    // Others went a moment ago: that is a crowd.
    vi.advanceTimersByTime(37);
    expect(calls).toEqual([]);
    leaving.push(leave(1, 0));
    vi.advanceTimersByTime(2);
    expect(calls).toEqual(["leave.v5"]);
    isStopping = true;
    leaving.push(leave(2, 3_000));
    await turn();
    expect(calls).toEqual(["leave.v5", "leave.v5"]);
    await Promise.all(leaving);
  } finally {
    vi.useRealTimers();
  }
});

test.each([
  { quietMs: 79, waitsMs: 40 },
  { quietMs: 80, waitsMs: 5 },
])("a leave with grace $quietMs ms after the last call lingers $waitsMs ms", async ({ quietMs, waitsMs }) => {
  const member = memberOf(await connect("u1"));
  calls = [];
  nowMs += quietMs;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const leaving = batches.remove(store.keys, { userId: "u1", member, graceMs: 3_000 });
    vi.advanceTimersByTime(waitsMs - 1);
    expect(calls).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(calls).toEqual(["leave.v5"]);
    await leaving;
  } finally {
    vi.useRealTimers();
  }
});

test("a hanging call delays nobody who comes later", async () => {
  let release = (): void => undefined;
  hold = new Promise((resolve) => (release = resolve));
  const hanging = connect("u1");
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  hold = undefined;
  expect((await connect("u2")).outcome).toBe("connected");
  release();
  expect((await hanging).outcome).toBe("connected");
});

test("if the call fails, each of its connections is told", async () => {
  failure = new Error("no answer in time");
  const failed = await Promise.allSettled([connect("u1"), connect("u2")]);
  expect(failed).toEqual([
    { status: "rejected", reason: failure },
    { status: "rejected", reason: failure },
  ]);
});
