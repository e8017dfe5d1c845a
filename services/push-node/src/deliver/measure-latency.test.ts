// How long messages took, as a node measures it.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { partitionKeys } from "@petrel/shared/redis/keys";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { Connection } from "../connection/connection.js";
import { createMeasureLatency } from "./measure-latency.js";
import { join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";

let bench: NodeBench;
let node: PushNode;
beforeAll(async () => {
  bench = await openNodeBench();
  node = await bench.startNode();
});
afterAll(() => bench.close());

const NAME = "petrel_delivery_duration_seconds";

async function read(
  metrics: { metrics(): Promise<string> },
  what: string,
  labels: Readonly<Record<string, string>>,
): Promise<number> {
  const lines = (await metrics.metrics()).split("\n").filter((line) => line.startsWith(`${NAME}_${what}{`));
  const found = lines.find((line) => Object.entries(labels).every(([k, v]) => line.includes(`${k}="${v}"`)));
  return Number(found?.slice(found.lastIndexOf(" ") + 1));
}
const countOf = (priority: Priority, presence: string): Promise<number> =>
  read(node.metrics, "count", { priority, presence });

describe("on a node", () => {
  test("counts each message to a connected client once, by its priority, when acknowledged", async () => {
    const client = await join(node, "u1");
    await bench.accept("u1", 1, "accept", { priority: "high" });
    await bench.accept("u1", 2, "accept", { priority: "low" });
    await bench.accept("u1", 3, "accept", { priority: "low" });
    await client.untilMessages(3);
    expect(await countOf("high", "connected")).toBe(0);
    client.ack(2);
    await waitFor(async () => (await countOf("low", "connected")) === 1, { what: "two to be measured" });
    expect(await countOf("high", "connected")).toBe(1);
    client.ack(2);
    client.ack(3);
    await waitFor(async () => (await countOf("low", "connected")) === 2, { what: "the third" });
    client.ack(3);
    client.send({ type: "ping" });
    await client.frame("pong");
    expect(await countOf("low", "connected")).toBe(2);
    expect(await countOf("high", "connected")).toBe(1);
    const [connection] = node.registry.ofUser("u1");
    expect(connection?.unmeasured).toBeUndefined();
    // By one clock at both ends, whatever the difference of the machines': it cannot have taken longer than this test.
    expect(await read(node.metrics, "sum", { priority: "high", presence: "connected" })).toBeLessThan(30);
    client.close();
  });

  test("counts missed messages apart: their time says nothing about the cluster", async () => {
    await bench.accept("u2", 1, "dispatch");
    await new Promise((resolve) => setTimeout(resolve, 5));
    const before = await countOf("normal", "away");
    const client = await join(node, "u2");
    await client.untilMessages(1);
    client.ack(1);
    await waitFor(async () => (await countOf("normal", "away")) === before + 1, {
      what: "it to be measured",
    });
    client.close();
  });

  test("keeps the priority through the dispatcher's hand-over", async () => {
    const client = await join(node, "u3");
    await bench.accept("u3", 1, "dispatch", { priority: "high" });
    await bench.accept("u3", 2, "accept", { priority: "high" });
    await client.untilMessages(2);
    const before = await countOf("high", "connected");
    client.ack(2);
    await waitFor(async () => (await countOf("high", "connected")) === before + 2, { what: "both" });
    client.close();
  });
});

describe("alone", () => {
  const message = (seq: number, atMs: number) => ({ seq, atMs, priority: "normal" }) as const;
  const connected = { priority: "normal", presence: "connected" } as const;

  function open() {
    let nowMs: number | undefined = 10_000_000;
    const registry = createRegistry("test");
    const latency = createMeasureLatency(registry, { nowMs: () => nowMs });
    const connection = { keys: partitionKeys(0), connectTimeMs: 0, unmeasured: undefined } as Connection;
    return { registry, latency, connection, setNow: (ms: number | undefined) => void (nowMs = ms) };
  }

  test("measures from acceptance to acknowledgement, never below zero", async () => {
    const { registry, latency, connection } = open();
    latency.sent(connection, message(1, 9_998_000));
    latency.sent(connection, message(2, 10_000_050));
    latency.acked(connection, 2);
    expect(await read(registry, "sum", connected)).toBe(2);
    expect(await read(registry, "bucket", { ...connected, le: "0.005" })).toBe(1);
    expect(await read(registry, "bucket", { ...connected, le: "2.5" })).toBe(2);
  });

  test("keeps a bounded number for a client that acknowledges nothing", async () => {
    const { registry, latency, connection } = open();
    for (let seq = 1; seq <= 1_000; seq++) latency.sent(connection, message(seq, 9_999_000));
    expect(connection.unmeasured).toHaveLength(128);
    latency.acked(connection, 1_000);
    expect(await read(registry, "count", connected)).toBe(64);
    expect(connection.unmeasured).toBeUndefined();
    // And from then on each is measured again.
    latency.sent(connection, message(1_001, 9_999_000));
    latency.acked(connection, 1_001);
    expect(await read(registry, "count", connected)).toBe(65);
  });

  test("measures and keeps nothing while Redis' clock is unknown", async () => {
    const { registry, latency, connection, setNow } = open();
    setNow(undefined);
    latency.sent(connection, message(1, 9_999_000));
    latency.acked(connection, 1);
    expect(await read(registry, "count", connected)).toBe(0);
    expect(connection.unmeasured).toBeUndefined();
  });
});
