// What a node counts of its connections.
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { expect, test } from "vitest";
import { ConnectionRegistry } from "./connection-registry.js";
import { createConnectionMetrics } from "./connection-metrics.js";

test("close codes invented by clients share one series, the contract's have one each from the start", async () => {
  const registry = createRegistry("push-node");
  const { closed } = createConnectionMetrics(registry, new ConnectionRegistry(1));
  const series = async () => [
    ...(await registry.metrics()).matchAll(/^petrel_connections_closed_total\{code="(\w+)".*\} (\d+)$/gm),
  ];
  const before = await series();
  expect(before.length).toBeLessThan(25);
  for (let code = 3000; code < 5000; code++) closed(code);
  const after = new Map((await series()).map(([, code = "", count = ""]) => [code, Number(count)]));
  expect(after.size).toBe(before.length);
  expect(after.get("4408")).toBe(1);
  expect([...after.values()].reduce((sum, count) => sum + count, 0)).toBe(2_000);
});
