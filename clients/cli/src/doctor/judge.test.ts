// Tests the judgements of `petrel doctor` that a cluster does not show at will.
// Guarantees: what is missing is not judged; each wrong fact is an error or a warning with how to mend it.
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { judgeMetrics } from "./check-metrics.js";
import { getText, judgeNotReady } from "./check-services.js";
import { judgeChannels, judgeNodes } from "./check-standing.js";
import { type Finding, mendOf } from "./finding.js";
import { type Diagnosis, judgeDiagnosis } from "./judge-diagnosis.js";
import { judgeServer } from "./judge-redis.js";

const info = {
  redis_version: "7.2.4",
  role: "master",
  used_memory: "10",
  maxmemory: "100",
  maxmemory_policy: "noeviction",
  evicted_keys: "0",
  aof_enabled: "1",
  aof_last_write_status: "ok",
};
const levels = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== "ok").map(({ check, level }) => `${level} ${check}`);

describe("a Redis server", () => {
  const judge = (more: Readonly<Record<string, string>>, facts: object = {}) =>
    judgeServer(
      { server: "r:1", roundTripMs: 0.3, clockAheadMs: 2, info: { ...info, ...more }, ...facts },
      "dispatch",
    );

  test.each<[string, Readonly<Record<string, string>>, object, readonly string[]]>([
    ["a good one", {}, {}, []],
    ["an old one", { redis_version: "6.2.9" }, {}, ["error redis version"]],
    ["a Valkey", { valkey_version: "8.0.1", redis_version: "7.2.4" }, {}, []],
    ["an old Valkey", { valkey_version: "7.1.0" }, {}, ["error redis version"]],
    ["without append-only file", { aof_enabled: "0" }, {}, ["error redis persistence"]],
    ["whose writes fail", { aof_last_write_status: "err" }, {}, ["error redis persistence"]],
    ["whose user default may do everything", {}, { defaultUser: { commands: "+@all", keys: "~*" } }, []],
    [
      "whose user default may only ping",
      {},
      { defaultUser: { commands: "-@all +ping", keys: "" } },
      ["error redis users"],
    ],
    [
      "a Valkey with such a user",
      { valkey_version: "9.1.2" },
      { defaultUser: { commands: "-@all +ping", keys: "" } },
      [],
    ],
    ["that evicts", { maxmemory_policy: "allkeys-lru" }, {}, ["error redis eviction"]],
    ["that has evicted", { evicted_keys: "3" }, {}, ["error redis eviction"]],
    ["75 % full", { used_memory: "75" }, {}, ["warning redis memory"]],
    ["90 % full", { used_memory: "90" }, {}, ["error redis memory"]],
    ["without a limit", { maxmemory: "0" }, {}, ["warning redis memory"]],
    ["a replica", { role: "slave" }, {}, ["error redis role"]],
    ["one that is loading", { loading: "1" }, {}, ["error redis role"]],
    ["a slow one", {}, { roundTripMs: 8 }, ["warning redis latency"]],
    ["with a clock 3 s behind", {}, { clockAheadMs: -3_000 }, ["warning clocks"]],
    ["with a clock a minute behind", {}, { clockAheadMs: -60_000 }, ["error clocks"]],
  ])("%s", (_name, more, facts, expected) => {
    const findings = judge(more, facts);
    expect(levels(findings)).toEqual(expected);
    for (const { level, mend } of findings) expect(mend === undefined).toBe(level === "ok");
  });

  test("one that does not answer is reported as that alone", () => {
    expect(levels(judgeServer({ server: "r:1", problem: "ECONNREFUSED" }, "dispatch"))).toEqual([
      "error redis",
    ]);
  });
});

describe("dispatch's diagnosis", () => {
  const good: Diagnosis = {
    at: "2030-01-01T00:00:00.000Z",
    dispatcher: "dispatch-1",
    version: "0.1.0",
    redis: [],
    partitions: { configured: 4, stored: 4, owned: 4 },
    backlog: {
      ready: 0,
      readyOldestSeconds: 0,
      wakeLagSeconds: 0,
      scheduleLagSeconds: 0,
      lateUsers: 0,
      sampledUsers: 40,
      deadLetters: { rejected: 0 },
    },
    ackTimeoutSeconds: 10,
    channels: [],
  };
  const apns = (probe: object): Partial<Diagnosis> => ({
    channels: [
      {
        channel: "apns",
        probes: [{ credential: "K1", verdict: "good", answer: "400", halted: false, ...probe }],
      },
    ],
  });

  test.each<[string, Partial<Diagnosis>, readonly string[]]>([
    ["no channel", {}, ["skipped channels"]],
    ["a good key", apns({}), []],
    ["a refused key", apns({ verdict: "refused" }), ["error apns"]],
    ["a wrong topic", apns({ verdict: "topic-refused" }), ["error apns"]],
    ["Apple away", apns({ verdict: "unreachable" }), ["error apns"]],
    ["Apple busy", apns({ verdict: "busy" }), ["warning apns"]],
    ["still halted", apns({ halted: true }), ["warning apns"]],
    ["an expired certificate", apns({ expiresAt: "2029-12-31T00:00:00.000Z" }), ["error apns"]],
    ["one that expires soon", apns({ expiresAt: "2030-01-09T00:00:00.000Z" }), ["warning apns"]],
    ["a channel without probes", { channels: [{ channel: "webhook", probes: [] }] }, ["skipped webhook"]],
    ["no owner", { ...apns({}), partitions: { configured: 4, stored: 4, owned: 3 } }, ["error owners"]],
    [
      "a foreign layout",
      { ...apns({}), partitions: { configured: 4, stored: 8, owned: 4 } },
      ["error partitions"],
    ],
    ["no layout", { ...apns({}), partitions: { configured: 4, owned: 4 } }, ["warning partitions"]],
    ["a lag", { ...apns({}), backlog: { ...good.backlog, wakeLagSeconds: 11 } }, ["warning lag"]],
    ["a long lag", { ...apns({}), backlog: { ...good.backlog, readyOldestSeconds: 31 } }, ["error lag"]],
    ["late users", { ...apns({}), backlog: { ...good.backlog, lateUsers: 4 } }, ["warning late users"]],
    [
      "dead letters",
      { ...apns({}), backlog: { ...good.backlog, deadLetters: { rejected: 2 } } },
      ["warning dead letters"],
    ],
  ])("%s", (_name, more, expected) => {
    expect(levels(judgeDiagnosis({ ...good, ...more }))).toEqual(expected);
  });
});

test("settings that may be forgotten", () => {
  const items = [
    { channel: "apns", paused: { since: "2030-01-01T00:00:00.000Z", by: "ops" } },
    { channel: "web", paused: null },
  ];
  expect(levels(judgeChannels({ items, unconfirmed: ["dispatch-2"] }))).toEqual([
    "warning paused channels",
    "error paused channels",
  ]);
  expect(levels(judgeChannels({ items: items.slice(1), unconfirmed: [] }))).toEqual([]);
  const node = { id: "n1", asked: false, draining: false, connections: 3 };
  expect(levels(judgeNodes([node]))).toEqual([]);
  expect(levels(judgeNodes([]))).toEqual(["error push nodes"]);
  expect(levels(judgeNodes([{ ...node, asked: true }]))).toEqual(["error push nodes"]);
  expect(levels(judgeNodes([node, { ...node, id: "n2", draining: true }]))).toEqual(["warning push nodes"]);
  const newer = { ...node, id: "n2", version: "2.0.0" };
  expect(levels(judgeNodes([newer, { ...newer, id: "n3" }]))).toEqual([]);
  expect(judgeNodes([node, newer]).map(({ says }) => says)).toEqual([
    "2 live, with 6 connections",
    "they are of several releases: 2.0.0, one that does not report it",
  ]);
});

test("metrics: reports what alerts would report, by series", () => {
  const text = [
    "# TYPE petrel_redis_link_up gauge",
    'petrel_redis_link_up{link="commands"} 1',
    'petrel_redis_link_up{link="reader"} 0',
    'petrel_apns_credential_halted{credential="K1"} 0',
    "petrel_fallback_full_streams 2",
    'petrel_certificate_expires_seconds{file="tls"} 864000',
    "process_cpu_seconds_total 5",
  ].join("\n");
  expect(judgeMetrics(text).map(({ series }) => series)).toEqual([
    'petrel_redis_link_up{link="reader"}',
    "petrel_fallback_full_streams",
  ]);
});

describe("a service that answers 503", () => {
  const judge = (checks: object) =>
    judgeNotReady("push-node", "http://n", { status: 503, body: { status: "not ready", checks } }).level;

  test.each([
    ["that is draining and healthy", { redis: "ok", draining: "stopping" }, "warning"],
    ["that is draining and has lost Redis", { redis: "away", draining: "stopping" }, "error"],
    ["that has lost Redis", { redis: "away" }, "error"],
    ["that does not answer", {}, "error"],
  ])("%s", (_name, checks, level) => expect(judge(checks)).toBe(level));
});

test.each([
  ["dispatch answered 401 PETREL_UNAUTHENTICATED: The key is unknown", /--key/],
  ["auth answered 403 PETREL_FORBIDDEN: This needs", /scope admin/],
  ["auth answered 403 PETREL_KEY_SUSPENDED: The key", /keys resume/],
  ["auth answered 503 PETREL_UNAVAILABLE: The producer key cannot be checked", /--redis-url/],
  ["auth does not answer", /^otherwise$/],
])("%s: the advice fits", (message, advice) => {
  expect(mendOf(message, "otherwise")).toMatch(advice);
});

test("gives up a service that accepts a connection and stays silent, whatever is collected meanwhile", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  setFlagsFromString("--expose-gc");
  const collecting = setInterval(runInNewContext("gc") as () => void, 20);
  try {
    const given = getText(url, new AbortController().signal, 500);
    await expect(given).rejects.toThrow("no answer within 500 ms");
  } finally {
    clearInterval(collecting);
    silent.close();
  }
}, 10_000);
