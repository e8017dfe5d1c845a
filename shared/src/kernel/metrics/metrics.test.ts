// Tests the internal listener.
// Guarantees: it serves the registry's metrics and nothing else.
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveMetrics } from "../http/serve-metrics.js";
import { Counter, createRegistry } from "./metrics.js";

let server: Server;
let base: string;

beforeAll(async () => {
  const registry = createRegistry("test", "1.2.3");
  new Counter({ name: "petrel_things_total", help: "Things.", registers: [registry] }).inc(3);
  server = await serveMetrics({ registry, port: 0, host: "127.0.0.1" });
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

test("GET /metrics returns Prometheus' text, labelled with the component", async () => {
  const answer = await fetch(`${base}/metrics`);
  expect(answer.headers.get("content-type")).toContain("text/plain");
  const text = await answer.text();
  expect(text).toContain('petrel_things_total{component="test"} 3');
  expect(text).toContain("process_cpu_user_seconds_total");
  expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds\{/m);
  expect(text).toContain('petrel_build_info{version="1.2.3",component="test"} 1');
});

test.each([
  ["GET", "/"],
  ["POST", "/metrics"],
])("%s %s does not exist", async (method, path) => {
  expect((await fetch(`${base}${path}`, { method })).status).toBe(404);
});

test("exposes nothing that walks over all open sockets at each scrape", async () => {
  const text = await (await fetch(`${base}/metrics`)).text();
  expect(text).not.toMatch(/^(process_open_fds|nodejs_active_)/m);
});

test("two registries share nothing", async () => {
  expect(await createRegistry("other").metrics()).not.toContain("petrel_things_total");
});

test("reports a port in use", async () => {
  const { port } = server.address() as AddressInfo;
  await expect(serveMetrics({ registry: createRegistry("other"), port, host: "127.0.0.1" })).rejects.toThrow(
    "EADDRINUSE",
  );
});
