// Tests that what a node holds reaches Redis, whatever happens to the calls.
// Guarantees: on a real Redis; survives lost answers, failing calls, and a Redis that forgot some or all of it.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { readPresence } from "@petrel/shared/redis/presence/read-presence";
import { findGoneHolders, removeHolder } from "@petrel/shared/redis/presence/remove-holder";
import { renewHolder } from "@petrel/shared/redis/presence/report-presence";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPresence } from "./held-presence.js";
import { PartitionReport } from "./report-partition.js";

let store: OpenStore;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
  runner = new FaultyRunner(store.redis);
});
afterAll(() => store.close());

/** Runs everything, then does as told. */
class FaultyRunner extends ScriptRunner {
  readonly calls: string[] = [];
  fault: "none" | "answer-lost" | "refused" = "none";
  gate: Promise<void> | undefined;

  override async run(...args: Parameters<ScriptRunner["run"]>): Promise<string> {
    this.calls.push(args[0]);
    if (this.fault === "refused") throw new Error("refused");
    const answer = await super.run(...args);
    await this.gate;
    if (this.fault === "answer-lost") throw new Error("the answer was lost");
    return answer;
  }

  count(name: string): number {
    return this.calls.filter((one) => one === name).length;
  }
}

let runner: FaultyRunner;
let held: HeldPresence;
let report: PartitionReport;
let begun: number;
beforeEach(async () => {
  await store.clear();
  runner.calls.splice(0);
  runner.gate = undefined;
  begun = 0;
  held = new HeldPresence({
    clock: systemClock,
    graceMs: 3_000,
    keysOf: () => keys,
    onChanged: (user) => report.changed(user),
  });
  report = new PartitionReport({
    scripts: runner,
    keys,
    node: "n1",
    leaseMs: 60_000,
    held,
    observer: { written: () => undefined, begun: () => void begun++, failed: () => undefined },
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
  });
});
afterEach(async () => {
  runner.fault = "none";
  held.stop();
  await report.stop(1);
});

async function stateOf(topic: string): Promise<string> {
  const [found] = await readPresence(store.scripts, keys, [{ topic, wantsList: true }]);
  return `${found?.here?.join(" ")} ${found?.connections}`;
}

const until = (topic: string, state: string): Promise<unknown> =>
  waitFor(async () => (await stateOf(topic)) === state, { what: `${topic}: ${state}` });

const [a, b] = [{}, {}];

test("writes what is held to Redis; what changes together is one call", async () => {
  for (let i = 0; i < 100; i++) held.join(`t${i % 10}`, `u${i}`, a);
  held.join("t0", "alice", a);
  held.leave("t0", "alice", a);
  held.join("t0", "alice", b);
  await until("t9", "u19 u29 u39 u49 u59 u69 u79 u89 u9 u99 10");
  await until("t0", "alice u0 u10 u20 u30 u40 u50 u60 u70 u80 u90 11");
  expect(runner.count("report-presence.v2")).toBe(1);
  expect(begun).toBe(1);
});

test("splits what exceeds a call, in order; repeats a change made during the call", async () => {
  let open = (): void => undefined;
  runner.gate = new Promise((resolve) => (open = resolve));
  for (let i = 0; i < 450; i++) held.join("t", `u${i}`, a);
  await waitFor(() => runner.count("renew-holder.v2") === 1, { what: "the beginning" });
  held.join("t", "u0", b);
  open();
  await waitFor(async () => (await stateOf("t")) === "undefined 451", { what: "451 connections" });
  expect(runner.count("report-presence.v2")).toBe(3);
});

test("sends a change made during its call afterwards", async () => {
  held.join("t", "alice", a);
  await until("t", "alice 1");
  let open = (): void => undefined;
  runner.gate = new Promise((resolve) => (open = resolve));
  held.join("t", "alice", b);
  await until("t", "alice 2");
  held.leave("t", "alice", a);
  runner.gate = undefined;
  open();
  await until("t", "alice 1");
});

test("makes up for a lost answer, or a refused call", async () => {
  runner.fault = "answer-lost";
  held.join("t", "alice", a);
  await waitFor(() => runner.calls.length >= 2, { what: "another try" });
  runner.fault = "none";
  await until("t", "alice 1");
  runner.fault = "answer-lost";
  held.join("t", "alice", b);
  await until("t", "alice 2");
  runner.fault = "refused";
  held.leave("t", "alice", b);
  const tries = runner.calls.length;
  await waitFor(() => runner.calls.length >= tries + 2, { what: "tries" });
  runner.fault = "none";
  await until("t", "alice 1");
});

test("reports a removed user as removed, then forgets it", async () => {
  held.join("t", "alice", a);
  await until("t", "alice 1");
  held.forgetUser("alice");
  await until("t", " 0");
  await waitFor(() => held.size === 0, { what: "it to be forgotten" });
});

test("if Redis has lost everything, reports everything again at the next renewal", async () => {
  held.join("t", "alice", a);
  held.join("u", "bob", a);
  await until("u", "bob 1");
  await store.redis.flushall();
  report.renew();
  await until("t", "alice 1");
  await until("u", "bob 1");
  expect(begun).toBe(2);
});

test("on a master that lost the last writes too, and removes what should not be there", async () => {
  held.join("t", "alice", a);
  held.join("t", "bob", a);
  await until("t", "alice bob 2");
  held.forgetUser("bob");
  await until("t", "alice 1");
  // As if the last write had been lost.
  await store.redis.hset(keys.presenceOf("n1/1", "t"), "bob", 1);
  await store.redis.hset(keys.presenceCounts("t"), "bob", "1 1 5", "", 2);
  await store.redis.zadd(keys.presenceUsers("t"), 0, "bob");
  await store.redis.hset(keys.generation, "replid", "0".repeat(40));
  report.renew();
  await waitFor(async () => (await findGoneHolders(store.scripts, keys, 9)).holders.length === 1, {
    what: "the end of the former holder",
  });
  expect(await stateOf("t")).toBe("alice bob 2");
  const lease = await takePartition(store.scripts, keys, "d1", 60_000);
  const token = lease.outcome === "held" ? lease.token : "";
  await removeHolder(store.scripts, keys, token, { node: "n1", number: 1 }, { settleMs: 0 });
  expect(await stateOf("t")).toBe("alice 1");
  held.join("t", "carol", a);
  await until("t", "alice carol 2");
});

test("a node taken for gone reports everything again", async () => {
  held.join("t", "alice", a);
  held.join("t", "bob", a);
  await until("t", "alice bob 2");
  await store.redis.zadd(keys.presenceLeases, "XX", 1, "n1/1");
  const lease = await takePartition(store.scripts, keys, "d1", 60_000);
  const token = lease.outcome === "held" ? lease.token : "";
  await removeHolder(store.scripts, keys, token, { node: "n1", number: 1 }, { settleMs: 0 });
  expect(await stateOf("t")).toBe(" 0");
  held.join("t", "carol", a);
  await until("t", "alice bob carol 3");
});

test("a node whose begin call is repeated after it was taken for gone reports everything again", async () => {
  for (const next of ["renewal", "change"] as const) {
    held.join(next, "alice", a);
    await until(next, "alice 1");
    const number = begun;
    const lease = await takePartition(store.scripts, keys, "d1", 60_000);
    await store.redis.zadd(keys.presenceLeases, 1, `n1/${number}`);
    for (const holder of (await findGoneHolders(store.scripts, keys, 10)).holders)
      await removeHolder(store.scripts, keys, lease.outcome === "held" ? lease.token : "", holder, {
        settleMs: 0,
      });
    await until(next, " 0");
    const late = { holder: { node: "n1", number }, leaseMs: 60_000, begins: true };
    expect(await renewHolder(store.scripts, keys, late)).toBe("ok");
    if (next === "renewal") report.renew();
    else held.join("other", "bob", a);
    await until(next, "alice 1");
    expect(begun).toBe(number + 1);
  }
  await until("other", "bob 1");
});

test("without users there is no lease to keep", async () => {
  report.renew();
  held.join("t", "alice", a);
  await until("t", "alice 1");
  held.forgetUser("alice");
  await waitFor(() => held.size === 0, { what: "it to be forgotten" });
  const calls = runner.calls.length;
  report.renew();
  // Long enough for a call: each of these waits for its answer.
  for (let i = 0; i < 20; i++) await stateOf("t");
  expect(runner.calls.length).toBe(calls);
});

test("a stop reports what is left, and lets the lease end soon", async () => {
  held.join("t", "alice", a);
  await until("t", "alice 1");
  held.join("t", "alice", b);
  await report.stop(3_000);
  expect(await stateOf("t")).toBe("alice 2");
  const endMs = Number(await store.redis.zscore(keys.presenceLeases, "n1/1"));
  expect(endMs).toBeLessThanOrEqual((await store.nowMs()) + 3_000);
});
