// Flow: `petrel doctor` beside a healthy cluster, and beside one in which six things were made wrong.
// Guarantees: each of them is named, with how to mend it, by way of the services' API and by Redis itself; nothing is named
// beside a healthy one; the exit code tells the two apart.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { freePort } from "@petrel/shared/testing/free-port";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { openShiftedClock, type ShiftedClock } from "@petrel/shared/testing/faults/shifted-clock";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../support/clients/run-cli.js";

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly says: string;
  readonly mend?: string;
}

let directory: string;
let clock: ShiftedClock | undefined;
let redis: TestRedis;
let simulator: TestApnsSimulator;
let cluster: TestCluster;
let metricsUrl: string;
let admin: Redis;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-doctor-"));
  clock = await openShiftedClock(directory, process.env);
  redis = await startRedis({
    appendOnly: true,
    extraArgs: ["--maxmemory", "256mb"],
    environment: clock?.environment ?? {},
  });
  simulator = await startApnsSimulator();
  const metricsPort = await freePort();
  metricsUrl = `http://127.0.0.1:${metricsPort}`;
  cluster = await startCluster({
    together: true,
    nodes: 1,
    redis,
    environment: simulator.environment,
    environmentOf: (name): Readonly<Record<string, string>> =>
      name.startsWith("dispatch") ? { METRICS_PORT: String(metricsPort) } : {},
  });
  const logger = createLogger({ service: "test", level: "silent" });
  admin = await connectRedis({ url: redis.url, role: "admin", logger });
}, 180_000);
afterAll(async () => {
  admin?.disconnect();
  await cluster?.stop();
  await simulator?.stop();
  await redis?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function doctor(...more: string[]): Promise<{ readonly code: number; readonly findings: Finding[] }> {
  const { code, out } = await runCli(cluster, ["doctor", "--json", ...more]);
  return { code, findings: out.map((line) => JSON.parse(line) as Finding) };
}

const named = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level === "error").map(({ check }) => check);

test("finds nothing wrong with a healthy cluster, and checks everything", async () => {
  const healthy = await waitFor(
    async () => {
      const run = await doctor("--redis-url", redis.url, "--partitions", "4", "--metrics", metricsUrl);
      return run.findings.every(({ level }) => level === "ok") ? run : undefined;
    },
    { what: "an owner of each partition, and nothing wrong", deadlineMs: 60_000 },
  );
  const { findings } = healthy;
  expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
  expect(new Set(findings.map(({ check }) => check))).toEqual(
    new Set([
      "auth",
      "collect",
      "dispatch",
      "dispatchers",
      "push-node",
      "versions",
      "owners",
      "lag",
      "late users",
      "dead letters",
      "redis version",
      "redis persistence",
      "redis users",
      "redis eviction",
      "redis memory",
      "redis latency",
      "clocks",
      "partitions",
      "apns",
      "jwks",
      "paused channels",
      "push nodes",
      "signing keys",
      "producer keys",
      "metrics",
    ]),
  );
  // On a busy machine Redis may answer late, which is a warning.
  const { code } = await waitFor(
    async () => {
      const run = await runCli(cluster, ["doctor"]);
      return /^0 wrong, 0 warnings, \d+ fine, 2 not looked at$/.test(run.out.at(-1) ?? "") && run;
    },
    { what: "a summary without a warning", deadlineMs: 60_000 },
  );
  expect(code).toBe(0);
});

test("reports a Redis that would not replay its file at its next start", async () => {
  const other = await startRedis({ appendOnly: true });
  try {
    const link = await connectRedis({
      url: other.url,
      role: "admin",
      logger: createLogger({ service: "test", level: "silent" }),
    });
    await link.call("ACL", "SETUSER", "operator", "on", ">secret", "~*", "&*", "+@all");
    await link.call("ACL", "SETUSER", "default", "-@all", "+ping", "+info");
    link.disconnect();
    const operator = other.url.replace("redis://", "redis://operator:secret@");
    const { findings, code } = await doctor("--redis-url", operator);
    expect(findings.filter(({ check }) => check === "redis users")).toEqual([
      expect.objectContaining({ level: "error", mend: expect.stringContaining("allcommands") as string }),
    ]);
    expect(code).toBe(1);
  } finally {
    await other.stop();
  }
});

test("names each of six faults and its remedy, through the services and Redis itself", async () => {
  const used = Number(/used_memory:(\d+)/.exec(await admin.info("memory"))?.[1]);
  await admin.set("petrel:partition-count", "7");
  await admin.config("SET", "appendonly", "no");
  await admin.config("SET", "maxmemory-policy", "allkeys-lru");
  await admin.config("SET", "maxmemory", String(Math.round(used / 0.95)));
  await clock?.step(60_000);
  await simulator.setBehaviour({ answer: { status: 403, reason: "ExpiredProviderToken" } });

  const byApi = await doctor();
  expect(byApi.code).toBe(1);
  const wrong = ["redis persistence", "redis eviction", "redis memory", "clocks", "partitions", "apns"];
  const seen = named(byApi.findings);
  for (const check of wrong) if (check !== "clocks" || clock !== undefined) expect(seen).toContain(check);
  const say = (check: string) => {
    const found = byApi.findings.find((one) => one.check === check && one.level === "error");
    return `${found?.says} → ${found?.mend}`;
  };
  expect(say("redis eviction")).toMatch(
    /allkeys-lru: it drops messages .* CONFIG SET maxmemory-policy noeviction/,
  );
  expect(say("redis persistence")).toMatch(/no append-only file: .* CONFIG SET appendonly yes/);
  expect(say("redis memory")).toMatch(/uses 9\d % of its memory|uses 1\d\d % of its memory/);
  if (clock !== undefined) expect(say("clocks")).toMatch(/is (59|60|61)(\.\d)? s ahead of that of dispatch/);
  expect(say("partitions")).toMatch(/divided into 7 partitions, dispatch is set to 4: .* Set PARTITIONS=7/);
  expect(say("apns")).toMatch(/refuses the key or certificate: 403 ExpiredProviderToken → It has expired/);

  // Where no service runs, as none starts beside such a Redis.
  const directly = await runCli(cluster, [
    "doctor",
    "--json",
    "--redis-url",
    redis.url,
    "--partitions",
    "4",
    "--dispatch",
    `http://127.0.0.1:1`,
  ]);
  expect(directly.code).toBe(1);
  const findings = directly.out.map((line) => JSON.parse(line) as Finding);
  const checks = named(findings);
  for (const check of ["redis persistence", "redis eviction", "redis memory", "partitions", "dispatch"])
    expect(checks).toContain(check);
  if (clock !== undefined) expect(checks).toContain("clocks");

  const { out } = await runCli(cluster, ["doctor"]);
  expect(out.filter((line) => line.startsWith("WRONG ")).length).toBeGreaterThanOrEqual(5);
  expect(out.find((line) => line.startsWith("WRONG partitions"))).toContain("7 partitions");
});
