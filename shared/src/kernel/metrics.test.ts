// Tests the internal listener.
// Guarantees: it answers with the registry's measurements, and with nothing else.
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Counter, createRegistry, serveMetrics } from "./metrics.js";

let server: Server;
let base: string;

beforeAll(async () => {
  const registry = createRegistry("test");
  new Counter({ name: "petrel_things_total", help: "Things.", registers: [registry] }).inc(3);
  server = await serveMetrics(registry, 0, "127.0.0.1");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

test("GET /metrics: Prometheus' text, labelled with the service", async () => {
  const answer = await fetch(`${base}/metrics`);
  expect(answer.headers.get("content-type")).toContain("text/plain");
  const text = await answer.text();
  expect(text).toContain('petrel_things_total{service="test"} 3');
  expect(text).toContain("process_cpu_user_seconds_total");
});

test.each([
  ["GET", "/"],
  ["POST", "/metrics"],
])("%s %s is not there", async (method, path) => {
  expect((await fetch(`${base}${path}`, { method })).status).toBe(404);
});

test("two registries do not share", async () => {
  expect(await createRegistry("other").metrics()).not.toContain("petrel_things_total");
});

test("a port that is taken is said", async () => {
  const { port } = server.address() as AddressInfo;
  await expect(serveMetrics(createRegistry("other"), port, "127.0.0.1")).rejects.toThrow("EADDRINUSE");
});
