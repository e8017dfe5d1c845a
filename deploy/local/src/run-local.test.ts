// Tests the local run as a whole, on a real Redis and pretended services (tiny real processes).
// Guarantees: start and stop order, what each service is given, restarts, failures in one line, nothing left behind.
import { sign, verify } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  defaultCacheDirectory,
  findRedisServer,
} from "@petrel/shared/embedded-redis/install/find-redis-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { freePortRange } from "@petrel/shared/testing/free-port";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseKnownKeys } from "./apns-simulator/state/known-keys.js";
import type { DevFile } from "./data/dev-file.js";
import type { LocalSecrets } from "./data/local-secrets.js";
import { runLocal } from "./run-local.js";

const pretendedService = `
const { appendFileSync } = require("node:fs");
const { basename, resolve } = require("node:path");
const kind = basename(__dirname) === "dist" ? basename(resolve(__dirname, "..")) : basename(__dirname);
const name = process.env.NODE_NAME ?? kind;
const note = (event) => appendFileSync(process.env.PRETEND_EVENTS, event + " " + name + "\\n");
if (process.env.PRETEND_BROKEN === kind) {
  const message = process.env.PRETEND_REASON ?? "EKEY";
  console.log(JSON.stringify({ level: 60, msg: "no such key", err: { message } }));
  process.exit(7);
}
process.on("SIGTERM", () => { note("stop"); process.exit(0); });
require("node:http").createServer((request, response) => {
  if (request.url === "/die") process.exit(3);
  if (request.url === "/environment") return response.end(JSON.stringify(process.env));
  response.end("ok");
}).listen(Number(process.env.PORT), process.env.HOST, () => note("start"));
`;

let root: string;
let base: number;
let data: string;
let lines: string[];
let complaints: string[];
let stop: AbortController;
let kill: AbortController;
let running: Promise<number>;

beforeAll(async () => {
  await findRedisServer({ environment: process.env });
}, 120_000);

async function open(): Promise<void> {
  root = await mkdtemp(join(tmpdir(), "petrel-local-"));
  data = join(root, ".data");
  base = await freePortRange(60);
  for (const kind of ["auth", "collect", "dispatch", "push-node", "console"]) {
    const directory = join(root, "services", kind, "dist");
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "main.js"), pretendedService);
  }
  for (const kind of ["apns-simulator", "web-push-simulator", "wechat-simulator"]) {
    const simulator = join(root, "deploy", "local", "dist", kind);
    await mkdir(simulator, { recursive: true });
    await writeFile(join(simulator, "main.js"), pretendedService);
  }
  await symlink(defaultCacheDirectory(), join(root, ".cache"));
  complaints = [];
  kill = new AbortController();
  running = Promise.resolve(0);
  again();
}

/** For the next start on the same data. */
function again(): void {
  lines = [];
  stop = new AbortController();
}

async function close(): Promise<void> {
  stop.abort();
  await running;
  await rm(root, { recursive: true, force: true });
}

function run(args: string[] = [], environment: Record<string, string> = {}): Promise<number> {
  running = runLocal({
    args,
    environment: {
      PATH: process.env["PATH"],
      PETREL_PORT_BASE: String(base),
      PRETEND_EVENTS: join(root, "events"),
      ...environment,
    },
    repositoryRoot: root,
    say: (line) => lines.push(line),
    complain: (line) => complaints.push(line),
    stopAsked: stop.signal,
    killAsked: kill.signal,
  });
  return running;
}

const said = (part: string): boolean => lines.some((line) => line.includes(part));
const untilSaid = (part: string) =>
  waitFor(
    () => {
      if (complaints.length > 0) throw new Error(complaints.join("\n"));
      return said(part);
    },
    { what: `the line "${part}"`, deadlineMs: 15_000 },
  );
const read = (path: string) => readFile(join(root, path), "utf8");
const readJson = async <T>(path: string): Promise<T> => JSON.parse(await read(path)) as T;
const events = async (kind: string) =>
  (await read("events"))
    .split("\n")
    .filter((line) => line.startsWith(`${kind} `))
    .map((line) => line.slice(kind.length + 1));
const environmentAt = async (offset: number): Promise<Record<string, string>> =>
  (await (await fetch(`http://127.0.0.1:${base + offset}/environment`)).json()) as Record<string, string>;
const mode = async (path: string) => ((await stat(join(root, path))).mode & 0o777).toString(8);
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Never 0: a signal to 0 is one to everything here. */
function pidOf(pids: Readonly<Record<string, number>>, name: string): number {
  const pid = pids[name];
  if (pid === undefined) throw new Error(`${name} does not run`);
  return pid;
}

/** What Redis does with its file. */
async function syncs(): Promise<unknown> {
  const { redis } = await readJson<DevFile>(".data/dev.json");
  const [answer] = await probeRedis(redis, [["CONFIG", "GET", "appendfsync"]]);
  return Array.isArray(answer) ? answer[1] : answer;
}

/** Each goes on where the one before has left it: a start is nine processes. */
describe("one data directory across starts", () => {
  beforeAll(open);
  afterAll(close);

  test("ACCEPT_DURABILITY=memory: the embedded Redis syncs its file each second", async () => {
    void run([], { ACCEPT_DURABILITY: "memory" });
    await untilSaid("Petrel runs");
    expect(await syncs()).toBe("everysec");
  });

  test("dispatch pushes to the simulator with a local key that the simulator knows", async () => {
    const [consoleEnv, dispatch, simulator] = await Promise.all([0, 3, 4].map(environmentAt));
    expect(dispatch).toMatchObject({
      APNS_ENDPOINT: `https://127.0.0.1:${base + 6}`,
      APNS_SANDBOX_ENDPOINT: `https://localhost:${base + 6}`,
      APNS_CA_FILE: join(root, "deploy/local/certificates/authority.pem"),
    });
    expect(simulator).toMatchObject({ PORT: String(base + 4), APNS_SIMULATOR_TLS_PORT: String(base + 6) });
    expect(consoleEnv?.["APNS_SIMULATOR_URL"]).toBe(`http://127.0.0.1:${base + 4}`);
    const keyFile = dispatch?.["APNS_KEY_FILE"] ?? "";
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    const known = parseKnownKeys(await readFile(simulator?.["APNS_SIMULATOR_KEYS_FILE"] ?? "", "utf8"));
    const key = known.get(dispatch?.["APNS_KEY_ID"] ?? "");
    expect(key?.teamId).toBe(dispatch?.["APNS_TEAM_ID"]);
    const signature = sign("sha256", Buffer.from("x"), await readFile(keyFile, "utf8"));
    expect(key && verify("sha256", Buffer.from("x"), key.publicKey, signature)).toBe(true);
  });

  test("a second start on the same data is refused while the first runs", async () => {
    const first = running;
    expect(await run([], { PETREL_PORT_BASE: "1" })).toBe(1);
    expect(complaints).toEqual([
      `Petrel already runs on ${data} (process ${process.pid}): stop it first (kill ${process.pid})`,
    ]);
    expect((await readJson<DevFile>(".data/dev.json")).auth).toBe(`http://127.0.0.1:${base + 1}`);
    complaints = [];
    running = first;
  });

  test("restarts a service that dies, the embedded Redis too, and says so in a line", async () => {
    const pids = await readJson<Record<string, number>>(".data/pids.json");
    await fetch(`http://127.0.0.1:${base + 2}/die`).catch(() => undefined);
    await untilSaid("collect … died (exit code 3), restarting in 0.25 s");
    await untilSaid("collect … ready again");
    process.kill(pidOf(pids, "redis"), "SIGKILL");
    await untilSaid("redis … died (SIGKILL), restarting in 0.25 s");
    await untilSaid("redis … ready again");
    const after = await readJson<Record<string, number>>(".data/pids.json");
    expect(after["collect"]).not.toBe(pids["collect"]);
    expect(after["auth"]).toBe(pids["auth"]);
    stop.abort();
    expect(await running).toBe(0);
    expect(Object.values(after).filter(isAlive)).toEqual([]);
  });

  test("data and keys are the same at the next start", async () => {
    again();
    void run();
    await untilSaid("Petrel runs");
    const first = await readJson<DevFile>(".data/dev.json");
    await probeRedis(first.redis, [["SET", "k", "kept"]]);
    stop.abort();
    await running;
    again();
    void run();
    await untilSaid("Petrel runs");
    const second = await readJson<DevFile>(".data/dev.json");
    expect(second).toEqual(first);
    expect(await probeRedis(second.redis, [["GET", "k"]])).toEqual(["kept"]);
  });

  test.each([[["apnsKey", "redisPassword"]], [["redisPassword"]]])(
    "secrets of a version without %j are completed; the others and the data stay",
    async (added) => {
      const { redis } = await readJson<DevFile>(".data/dev.json");
      await probeRedis(redis, [["SET", "k", "kept"]]);
      stop.abort();
      await running;
      const made = Object.entries(await readJson<object>(".data/secrets.json"));
      const others = Object.fromEntries(made.filter(([name]) => !added.includes(name)));
      await writeFile(join(data, "secrets.json"), JSON.stringify(others));
      again();
      void run();
      await untilSaid("Petrel runs");
      const completed = await readJson<Record<string, unknown>>(".data/secrets.json");
      expect(completed).toMatchObject(others);
      expect(Object.keys(completed).toSorted()).toEqual(made.map(([name]) => name).toSorted());
      for (const [name, value] of made) {
        if (added.includes(name)) expect(completed[name]).not.toEqual(value);
      }
      const { redis: opened } = await readJson<DevFile>(".data/dev.json");
      expect(await probeRedis(opened, [["GET", "k"]])).toEqual(["kept"]);
      await expect(probeRedis(redis, [["PING"]])).rejects.toThrow(/login was refused/);
    },
  );
});

describe("a run of its own", () => {
  beforeEach(open);
  afterEach(close);

  test("everything starts, is described, and stops in order without leaving a process", async () => {
    const code = run(["--nodes", "3", "--collects", "2", "--dispatchers", "2"]);
    await untilSaid("Petrel runs");
    const dev = await readJson<DevFile>(".data/dev.json");
    const secrets = await readJson<LocalSecrets>(".data/secrets.json");
    const at = (offset: number): string => `http://127.0.0.1:${base + offset}`;
    expect(dev).toEqual({
      auth: at(1),
      collect: at(2),
      collects: [at(2), at(40)],
      dispatch: at(3),
      console: at(0),
      nodes: [10, 11, 12].map((offset) => `ws://127.0.0.1:${base + offset}/v1/connect`),
      apnsSimulator: at(4),
      webPushSimulator: at(29),
      wechatSimulator: at(5),
      wechatAppid: "wxdemoaccount",
      redis: `redis://:${secrets.redisPassword}@127.0.0.1:${base + 9}`,
      apiKey: expect.stringMatching(/^pk_[A-Za-z0-9_-]{12,}$/),
      apiSecret: expect.stringMatching(/^[A-Za-z0-9_-]{43,}$/),
      adminToken: `${secrets.adminKey.id}.${secrets.adminKey.secret}`,
    });
    expect(secrets.apiKey).toEqual({ id: dev.apiKey, secret: dev.apiSecret });
    expect(await mode(".data/dev.json")).toBe("600");
    expect(said(`-H 'Authorization: Bearer ${dev.apiKey}.${dev.apiSecret}'`)).toBe(true);
    expect(await probeRedis(dev.redis, [["PING"]])).toEqual(["PONG"]);
    expect(lines.filter((line) => line.includes(secrets.redisPassword))).toEqual([]);

    const pids = await readJson<Record<string, number>>(".data/pids.json");
    expect(Object.keys(pids).toSorted()).toEqual(
      [
        "apns-simulator",
        "auth",
        "collect-1",
        "collect-2",
        "console",
        "dispatch-1",
        "dispatch-2",
        "push-node-1",
        "push-node-2",
        "push-node-3",
      ].concat("redis", "web-push-simulator", "wechat-simulator"),
    );
    expect((await events("start")).slice(0, 4).toSorted()).toEqual([
      "apns-simulator",
      "auth",
      "web-push-simulator",
      "wechat-simulator",
    ]);

    stop.abort();
    expect(await code).toBe(0);
    expect(complaints).toEqual([]);
    const stopped = await events("stop");
    expect(stopped.map((name) => name.replace(/-\d$/, ""))).toEqual([
      "console",
      "collect",
      "collect",
      "node",
      "node",
      "node",
      "dispatch",
      "dispatch",
      "apns-simulator",
      "web-push-simulator",
      "wechat-simulator",
      "auth",
    ]);
    expect(Object.values(pids).filter(isAlive)).toEqual([]);
    for (const gone of ["dev.json", "lock", "pids.json"]) {
      await expect(read(`.data/${gone}`)).rejects.toThrow(/ENOENT/);
    }
  });

  test("each service gets its own settings over the user's, and the user's over the defaults", async () => {
    void run(["--nodes", "2"], {
      ACK_TIMEOUT_MS: "1234",
      PORT: "1",
      NODE_NAME: "mine",
      DRAIN_WINDOW_MS: "77",
      REDIS_PASSWORD_FILE: "/of/another/redis",
      ACCEPT_DURABILITY: "aof",
    });
    await untilSaid("Petrel runs");
    expect(await syncs(), "as ACCEPT_DURABILITY asks for").toBe("always");
    const [consoleEnv, auth, collect, dispatch, node] = await Promise.all(
      [0, 1, 2, 3, 11].map(environmentAt),
    );
    for (const environment of [consoleEnv, auth, collect, dispatch, node]) {
      expect(environment).toMatchObject({
        ACK_TIMEOUT_MS: "1234",
        DRAIN_WINDOW_MS: "77",
        HOST: "127.0.0.1",
        REDIS_URL: `redis://127.0.0.1:${base + 9}`,
        AUTH_URL: `http://127.0.0.1:${base + 1}`,
        ALLOWED_ORIGINS: `http://127.0.0.1:${base},http://localhost:${base}`,
      });
    }
    expect(node).toMatchObject({
      PORT: String(base + 11),
      METRICS_PORT: String(base + 31),
      NODE_NAME: "node-2",
    });
    expect(dispatch).toMatchObject({ PORT: String(base + 3), NODE_NAME: "dispatch-1" });
    expect(auth?.["METRICS_PORT"]).toBe(String(base + 8));
    expect(auth?.["NODE_NAME"]).toBeUndefined();
    expect(collect?.["METRICS_PORT"]).toBe(String(base + 7));

    const dev = await readJson<DevFile>(".data/dev.json");
    expect(consoleEnv).toMatchObject({ COLLECT_URL: dev.collect, NODE_URLS: dev.nodes.join(",") });
    const names = ["API_KEY_FILE", "REDIS_PASSWORD_FILE", "PRODUCER_KEYS_FILE", "KEY_ENCRYPTION_FILE"];
    const files = names.map((name) => consoleEnv?.[name] ?? auth?.[name] ?? "");
    for (const file of files) expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(files[0] ?? "", "utf8")).toBe(`${dev.apiKey}.${dev.apiSecret}\n`);
    expect(`${new URL(dev.redis).password}\n`).toBe(await readFile(files[1] ?? "", "utf8"));
  });

  test("the user's own APNS_… win: their key goes to no simulator, and their endpoint gets no authority of ours", async () => {
    void run([], { APNS_ENDPOINT: "https://push.example:2197", APNS_CA_FILE: "" });
    await untilSaid("Petrel runs");
    let dispatch = await environmentAt(3);
    expect(dispatch["APNS_ENDPOINT"]).toBe("https://push.example:2197");
    expect(dispatch["APNS_KEY_ID"]).toMatch(/^[A-Z0-9]{10}$/);
    expect([dispatch["APNS_CA_FILE"], dispatch["APNS_SANDBOX_ENDPOINT"]]).toEqual([undefined, undefined]);
    stop.abort();
    await running;
    again();
    void run([], { APNS_KEY_FILE: "/own.p8", APNS_KEY_ID: "OWN0000001" });
    await untilSaid("Petrel runs");
    dispatch = await environmentAt(3);
    expect(dispatch).toMatchObject({ APNS_KEY_FILE: "/own.p8", APNS_KEY_ID: "OWN0000001" });
    expect(["APNS_TEAM_ID", "APNS_ENDPOINT", "APNS_CA_FILE"].filter((name) => name in dispatch)).toEqual([]);
  });

  test("a service's last lines show no password", async () => {
    const reason = "no answer of redis://:hush@127.0.0.1:7";
    expect(await run([], { PRETEND_BROKEN: "auth", PRETEND_REASON: reason })).toBe(1);
    expect(complaints).toEqual([expect.stringContaining("redis://:[redacted]@127.0.0.1:7")]);
  });

  test("the user's own Redis may have its password in a file", async () => {
    const redis = await startRedis({ password: "p@ss" });
    const file = join(root, "password");
    await writeFile(file, "p@ss\n");
    const bare = `redis://127.0.0.1:${redis.port}`;
    void run([], { REDIS_URL: bare, REDIS_PASSWORD_FILE: file });
    await untilSaid("Petrel runs");
    expect(await environmentAt(1)).toMatchObject({ REDIS_URL: bare, REDIS_PASSWORD_FILE: file });
    const dev = await readJson<DevFile>(".data/dev.json");
    expect(await probeRedis(dev.redis, [["PING"]])).toEqual(["PONG"]);
    stop.abort();
    await running;
    stop = new AbortController();
    expect(await run([], { REDIS_URL: redis.url, REDIS_PASSWORD_FILE: file })).toBe(1);
    expect(complaints).toEqual([expect.stringMatching(/give one of them/)]);
    await redis.stop();
  });

  test("takes over a lock whose holder is gone; --no-restart leaves a dead service, says so, and still stops cleanly", async () => {
    await mkdir(data);
    // This process's id, but another start: the id was used again.
    await writeFile(join(data, "lock"), `${process.pid} 1`);
    void run(["--no-restart"]);
    await untilSaid("Petrel runs");
    await fetch(`http://127.0.0.1:${base + 3}/die`).catch(() => undefined);
    await untilSaid("dispatch-1 … died (exit code 3) and stays dead");
    stop.abort();
    expect(await running).toBe(0);
    expect(said("restarting")).toBe(false);
  });

  test("names a service that cannot start, with the end of its log, and stops the others", async () => {
    expect(await run([], { PRETEND_BROKEN: "push-node" })).toBe(1);
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(
      /^push-node-\d died \(exit code 7\) before it was ready; the end of .*no such key: EKEY$/s,
    );
    expect(said("Petrel runs")).toBe(false);
    expect(await events("stop")).toContain("auth");
    await expect(probeRedis(`redis://127.0.0.1:${base + 9}`, [["PING"]])).rejects.toThrow(/ECONNREFUSED/);
    await expect(read(".data/dev.json")).rejects.toThrow(/ENOENT/);
  });

  test("reports a busy port, and who needs it, before anything starts", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(base + 10, "127.0.0.1", resolve));
    expect(await run()).toBe(1);
    // Somebody else's connection may hold another of them just now.
    const busy = `^ports? .*\\b${base + 10} \\(push-node-1\\).* (is|are) in use`;
    expect(complaints).toEqual([expect.stringMatching(busy)]);
    expect(lines).toEqual([]);
    await new Promise((resolve) => server.close(resolve));
  });

  test("refuses a data directory that is not writable", async () => {
    await writeFile(data, "a file is in its place");
    expect(await run()).toBe(1);
    expect(complaints).toEqual([expect.stringMatching(/^the data directory .* cannot be written to \(E/)]);
  });

  test("uses the user's own Redis, and refuses one that evicts or is not there", async () => {
    const redis = await startRedis({ extraArgs: ["--maxmemory-policy", "allkeys-lru"] });
    expect(await run([], { REDIS_URL: redis.url })).toBe(1);
    expect(complaints[0]).toMatch(/evicts \(maxmemory-policy allkeys-lru\)/);
    await probeRedis(redis.url, [["CONFIG", "SET", "maxmemory-policy", "noeviction"]]);
    complaints = [];
    void run([], { REDIS_URL: redis.url });
    await untilSaid("Petrel runs");
    expect((await readJson<DevFile>(".data/dev.json")).redis).toBe(redis.url);
    expect((await environmentAt(1))["REDIS_URL"]).toBe(redis.url);
    await expect(probeRedis(`redis://127.0.0.1:${base + 9}`, [["PING"]])).rejects.toThrow(/ECONNREFUSED/);
    stop.abort();
    await running;
    await redis.stop();
    stop = new AbortController();
    expect(await run([], { REDIS_URL: redis.url.replace("//", "//:secret@") })).toBe(1);
    expect(complaints[0]).toMatch(/cannot be reached: .*ECONNREFUSED/);
    expect(complaints[0]).not.toContain("secret");
  });

  test("a stop during the start is clean", async () => {
    void run();
    await untilSaid("redis … ready");
    stop.abort();
    expect(await running).toBe(0);
    expect(complaints).toEqual([]);
  });

  test("the second Ctrl-C ends everything at once, even paused processes", async () => {
    void run();
    await untilSaid("Petrel runs");
    const pids = await readJson<Record<string, number>>(".data/pids.json");
    process.kill(pidOf(pids, "collect"), "SIGSTOP");
    stop.abort();
    kill.abort();
    expect(await running).toBe(1);
    expect(Object.values(pids).filter(isAlive)).toEqual([]);
  });

  test("refuses wrong options and settings", async () => {
    expect(await run(["--node", "3"])).toBe(2);
    expect(await run(["--nodes", "0"])).toBe(2);
    expect(await run([], { PETREL_PORT_BASE: "seventy" })).toBe(1);
    expect(await run([], { REDIS_URL: "localhost:6379" })).toBe(1);
    expect(complaints).toEqual([
      "Unknown option '--node' (npm start -- --help lists the options)",
      '--nodes must be a whole number from 1 to 10, not "0"',
      'PETREL_PORT_BASE must be a port from 1 to 65496, not "seventy"',
      "REDIS_URL must be redis://[user:password@]host:port[/db] or rediss://…",
    ]);
    expect(await run(["--help"])).toBe(0);
    expect(said("--dispatchers N")).toBe(true);
  });
});
