// Tests the model: what runs out first decides, and the page takes new figures.
import { expect, test } from "vitest";
import type { WorkloadFigures } from "../compare/figures.js";
import { needsOf, redisBytes, type Load } from "./capacity-model.js";
import { costsTable, loadOf, machinesTable, registeredTable } from "./capacity-page.js";
import { readCosts, type Costs } from "./read-costs.js";

const same = (us: number) => ({ collect: us, nodes: us, redis: us, dispatch: 0 });
const costs: Costs = {
  single: same(100),
  batched: same(50),
  connect: { collect: 0, nodes: 1_000, redis: 100, dispatch: 0 },
  idle: { collect: 0, nodes: 2, redis: 0, dispatch: 0 },
  connectionKb: 10,
};
const load: Load = {
  connections: 10_000,
  registered: 10_000,
  messagesPerSecond: 1_000,
  batchedShare: 0,
  connectionSeconds: 1_000,
  meanShare: 0.5,
  inboxHistory: 100,
};

test("counts cores for messages, connections that come and go, and idle connections", () => {
  const { busy } = needsOf(load, costs);
  expect(busy.collect).toBeCloseTo(0.1);
  expect(busy.nodes).toBeCloseTo(0.1 + 0.01 + 0.02);
  expect(busy.redis).toBeCloseTo(0.1 + 0.001);
  expect(needsOf({ ...load, batchedShare: 1 }, costs).busy.collect).toBeCloseTo(0.05);
});

test("plans no process more than half busy and none alone, and names the bound", () => {
  expect(needsOf(load, costs)).toMatchObject({
    collects: 2,
    nodes: 2,
    shards: 1,
    dispatchers: 2,
    machines: 2,
  });
  const busy = { ...load, messagesPerSecond: 20_000, meanShare: 0.001 };
  expect(needsOf(busy, costs)).toMatchObject({
    collects: 4,
    nodes: 5,
    nodesBound: "CPU",
    shards: 5,
    shardsBound: "CPU",
  });
  const idle = { ...load, connections: 400_000, connectionSeconds: 1e6 };
  expect(needsOf(idle, costs)).toMatchObject({ nodes: 8, nodesBound: "connections" });
  const kept = { ...load, messagesPerSecond: 4_000, meanShare: 1 };
  expect(needsOf(kept, costs)).toMatchObject({ shards: 3, shardsBound: "memory" });
});

test("counts memory for 25 hours of records and inbox histories up to their bound", () => {
  const records = redisBytes({ ...load, connections: 0, registered: 0 });
  expect(records).toBeCloseTo(1.1 * 500 * 90_000 * 228);
  const perUser = (history: number): number =>
    (redisBytes({ ...load, inboxHistory: history }) - records) / load.registered / 1.1;
  expect(perUser(100) - perUser(10)).toBeCloseTo(90 * 298);
});

test("reads costs from a run and names a missing one", () => {
  const workload = (name: string, more = {}): WorkloadFigures => ({
    workload: name,
    title: name,
    unit: "µs",
    contenders: [
      {
        name: "Petrel",
        rounds: [
          { value: 9, parts: { collect: 1, "push-node-1": 2, "push-node-2": 3, redis: 4, auth: -1 }, more },
        ],
      },
    ],
  });
  const all = ["single", "batched", "connect"].map((name) => workload(name));
  expect(() => readCosts(all)).toThrow("the workload idle-connections");
  const read = readCosts([...all, workload("idle-connections", { "KB of memory": 8 })]);
  expect(read.single).toEqual({ collect: 1, nodes: 5, redis: 4, dispatch: 0 });
  expect(read.connectionKb).toBe(8);
  expect(costsTable(read)).toContain("| a message, batched | 1.00 | 5.00 | 4.00 | 0.00 | 10.0 |");
});

test("the tables show few and many registered users beside the formula, and four loads", () => {
  const users = (name: string, bytes: number) => ({
    name,
    rounds: [{ value: 100, parts: { redis: 40 }, more: { "bytes of Redis a user": bytes } }],
  });
  const contenders = [users("few", 1_800), users("many", 1_700)];
  expect(registeredTable([{ workload: "registered", title: "", unit: "µs", contenders }])).toContain(
    "| many | 100 | 40.0 | 1,700 | 1,787 |",
  );
  expect(machinesTable(costs).split("\n")).toHaveLength(6);
  expect(loadOf(60).messagesPerSecond).toBe(1);
});
