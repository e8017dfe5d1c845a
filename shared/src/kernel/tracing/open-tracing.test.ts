// Tests tracing on its own: what it loads, what it samples, and what a failing collector costs.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { freePort } from "../../testing/free-port.js";
import { waitFor } from "../../testing/wait-for.js";
import { ConfigError, readConfig } from "../config.js";
import { createLogger } from "../logging/logging.js";
import type { TracingSettings } from "./open-telemetry.js";
import { openTracing } from "./open-tracing.js";
import { SpanCounts } from "./span-counts.js";
import { derivedContext, NO_TRACING, traceIdOf, traceIdsOf, type Tracing } from "./tracing.js";
import { tracingSettings } from "./tracing-settings.js";

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const start = { kind: "internal", attributes: {} } as const;
const settings: TracingSettings = {
  tracing: "file",
  traceSampleRatio: 1,
  traceFile: undefined,
  otlpEndpoint: "http://127.0.0.1:1",
};

let directory: string;
let servers: Server[];
let stops: (() => Promise<void> | void)[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-spans-"));
  [servers, stops] = [[], []];
});
afterEach(async () => {
  for (const stop of stops) await stop();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await rm(directory, { recursive: true });
});

async function open(
  more: Partial<TracingSettings>,
): Promise<{ tracing: Tracing; counts: SpanCounts; stop: () => Promise<void> }> {
  const counts = new SpanCounts();
  const tracing = await openTracing(
    { ...settings, ...more },
    {
      service: "test",
      version: "1.2.3",
      instance: "test.1",
      counts,
      logger: createLogger({ service: "test", level: "silent" }),
      lifecycle: { onStop: (_name, close) => void stops.push(close) },
    },
  );
  return {
    tracing,
    counts,
    stop: async () => {
      for (const stop of stops.splice(0)) await stop();
    },
  };
}

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("off", () => {
  test("there is no span, whoever asks", async () => {
    const { tracing } = await open({ tracing: "off" });
    expect(tracing).toBe(NO_TRACING);
    expect(tracing.beginTrace("a", parent, start)).toBeUndefined();
    expect(tracing.beginSpan("a", parent, start)).toBeUndefined();
  });

  // What prom-client itself loads does not count: it asks the API for the current trace.
  test.each([
    ["off", false],
    ["file", true],
  ])("%s: OpenTelemetry is loaded: %s", async (mode, isLoaded) => {
    const script = `
      import { createRequire } from "node:module";
      import { openTracing } from ${JSON.stringify(new URL("../../../dist/kernel/tracing/open-tracing.js", import.meta.url).href)};
      import ${JSON.stringify(new URL("../../../dist/redis/accept/accept-batch.js", import.meta.url).href)};
      await openTracing(
        { tracing: "${mode}", traceSampleRatio: 1, traceFile: ${JSON.stringify(join(directory, "spans"))}, otlpEndpoint: "" },
        { service: "s", version: "v", instance: "i", counts: {}, logger: { info() {} }, lifecycle: { onStop() {} } },
      );
      const loaded = Object.keys(createRequire(import.meta.url).cache);
      process.stdout.write(String(loaded.some((path) => /@opentelemetry.(?!api.)/.test(path))));
      process.exit(0);`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", script],
      { cwd: fileURLToPath(new URL("../../../..", import.meta.url)) },
    );
    expect(stdout).toBe(String(isLoaded));
  });
});

describe("settings", () => {
  test("a file needs a name, and a writable place", async () => {
    await expect(open({})).rejects.toThrow(ConfigError);
    await expect(open({ traceFile: join(directory, "nowhere", "spans") })).rejects.toThrow("ENOENT");
  });

  test.each(["0", "1", "0.25", ".5", "1.0"])("a ratio: %s", (text) => {
    const { traceSampleRatio } = readConfig(tracingSettings, { TRACE_SAMPLE_RATIO: text });
    expect(traceSampleRatio).toBe(Number(text));
  });

  test.each(["-0.1", "1.1", "2", "half", "1e-3", " 1", "0x1"])("not a ratio: %s", (text) => {
    expect(() => readConfig(tracingSettings, { TRACE_SAMPLE_RATIO: text })).toThrow("from 0 to 1");
  });
});

describe("sampling", () => {
  test("follows the producer's decision, else the ratio", async () => {
    const all = (await open({ traceFile: join(directory, "a"), traceSampleRatio: 1 })).tracing;
    const none = (await open({ traceFile: join(directory, "b"), traceSampleRatio: 0 })).tracing;
    const unsampled = parent.replace(/01$/, "00");
    for (const tracing of [all, none]) {
      expect(tracing.beginTrace("a", parent, start)?.traceId).toBe("4bf92f3577b34da6a3ce929d0e0e4736");
      expect(tracing.beginTrace("a", unsampled, start)).toBeUndefined();
    }
    for (const notOne of [undefined, "", "nonsense", ["a", "b"], `${parent}, ${parent}`]) {
      expect(all.beginTrace("a", notOne, start)?.traceId).toMatch(/^[0-9a-f]{32}$/);
      expect(all.beginTrace("a", notOne, start)?.traceId).not.toBe("4bf92f3577b34da6a3ce929d0e0e4736");
      expect(none.beginTrace("a", notOne, start)).toBeUndefined();
    }
  });

  test("a child needs a parent", async () => {
    const { tracing } = await open({ traceFile: join(directory, "a") });
    expect(tracing.beginSpan("a", undefined, start)).toBeUndefined();
    expect(tracing.beginSpan("a", "nonsense", start)).toBeUndefined();
  });
});

test("writes a span per line to a file, with its parent", async () => {
  const traceFile = join(directory, "spans");
  const { tracing, counts, stop } = await open({ traceFile });
  const first = tracing.beginTrace("first", parent, { kind: "server", attributes: { "petrel.seq": 1 } });
  const derived = derivedContext(first?.context, "a name");
  const second = tracing.beginSpan("second", first?.context, {
    kind: "client",
    attributes: { "petrel.none": undefined },
    startMs: 1_000,
    ...(derived === undefined ? {} : { spanId: derived.spanId }),
  });
  expect(second?.context).toBe(derived?.context);
  // The chosen id was for one span only.
  expect(tracing.beginSpan("third", parent, start)?.context).not.toBe(derived?.context);
  second?.fail("it broke");
  second?.end();
  first?.end();
  await stop();
  const lines = (await readFile(traceFile, "utf8")).trimEnd().split("\n");
  const [secondSpan, firstSpan] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(2);
  expect(firstSpan).toMatchObject({
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
    parentSpanId: "00f067aa0ba902b7",
    name: "first",
    kind: "server",
    service: "petrel-test",
    instance: "test.1",
    status: "unset",
    attributes: { "petrel.seq": 1 },
  });
  expect(secondSpan).toMatchObject({
    parentSpanId: firstSpan?.["spanId"],
    startTime: "1970-01-01T00:00:01.000Z",
    status: "error",
    problem: "it broke",
    attributes: {},
  });
  expect([counts.exported, counts.dropped]).toEqual([2, 0]);
});

describe("a collector", () => {
  test("gets spans by OTLP over HTTP", async () => {
    const bodies: string[] = [];
    const otlpEndpoint = await listen((request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        bodies.push(`${request.method} ${request.url} ${body}`);
        response.writeHead(200, { "content-type": "application/json" }).end("{}");
      });
    });
    const { tracing, counts, stop } = await open({ tracing: "otlp", otlpEndpoint: `${otlpEndpoint}/` });
    tracing.beginTrace("first", parent, start)?.end();
    await stop();
    expect(counts.exported).toBe(1);
    expect(bodies).toHaveLength(1);
    expect(bodies[0]).toMatch(/^POST \/v1\/traces \{"resourceSpans":/);
    expect(bodies[0]).toContain('"traceId":"4bf92f3577b34da6a3ce929d0e0e4736"');
    expect(bodies[0]).toContain("petrel-test");
  });

  test("that refuses costs only the spans, which are counted", async () => {
    const otlpEndpoint = await listen((_request, response) => void response.writeHead(400).end());
    const { tracing, counts } = await open({ tracing: "otlp", otlpEndpoint });
    tracing.beginTrace("first", parent, start)?.end();
    await waitFor(() => counts.dropped === 1, { what: "the span to be dropped", deadlineMs: 20_000 });
    expect(counts.exported).toBe(0);
  });

  test("that is down costs only the spans, too", async () => {
    const otlpEndpoint = `http://127.0.0.1:${await freePort()}`;
    const { tracing, counts } = await open({ tracing: "otlp", otlpEndpoint });
    tracing.beginTrace("first", parent, start)?.end();
    await waitFor(() => counts.dropped === 1, { what: "the span to be dropped", deadlineMs: 25_000 });
  });

  test("that hangs delays no more spans than the queue holds, and not the stop", async () => {
    let asked = 0;
    const otlpEndpoint = await listen(() => asked++);
    const { tracing, counts, stop } = await open({ tracing: "otlp", otlpEndpoint });
    for (let i = 0; i < 5_000; i++) tracing.beginTrace("one", parent, start)?.end();
    expect(counts.dropped).toBe(5_000 - 4_096);
    await waitFor(() => asked > 0, { what: "an export", deadlineMs: 10_000 });
    await stop();
    expect(counts.exported).toBe(0);
  });
});

test("log lines have the trace of what is sampled, and nothing else", () => {
  expect(traceIdOf(parent)).toEqual({ traceId: "4bf92f3577b34da6a3ce929d0e0e4736" });
  expect(traceIdOf(undefined)).toEqual({});
  expect(traceIdsOf([{ trace: parent }, {}, { trace: parent }])).toEqual({
    traceIds: ["4bf92f3577b34da6a3ce929d0e0e4736"],
  });
  expect(traceIdsOf([{}, {}])).toEqual({});
});

test("derives the same context from the same parent and name, otherwise another", () => {
  const one = derivedContext(parent, "offer m1");
  expect(one).toEqual(derivedContext(parent, "offer m1"));
  expect(one?.context).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/);
  expect(derivedContext(parent, "offer m2")?.spanId).not.toBe(one?.spanId);
  expect(derivedContext(undefined, "offer m1")).toBeUndefined();
});
