// Tests the local run as a whole, on a real Redis and pretended services: what happens between its start and its stop.
// Guarantees: start and stop order, data across starts, restarts, nothing left behind.
import { isRunning } from "@petrel/shared/testing/is-running";
import { sign, verify } from "node:crypto";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PretendedRun } from "../../../test/support/local-run/pretended-run.js";
import { parseKnownKeys } from "./apns-simulator/state/known-keys.js";
import type { DevFile } from "./data/dev-file.js";
import type { LocalSecrets } from "./data/local-secrets.js";

let local: PretendedRun;
beforeAll(() => PretendedRun.prepare(), 120_000);

/** Never 0: a signal to 0 is one to everything here. */
function pidOf(pids: Readonly<Record<string, number>>, name: string): number {
  const pid = pids[name];
  if (pid === undefined) throw new Error(`${name} does not run`);
  return pid;
}

/** Each goes on where the one before has left it: a start is nine processes. */
describe("one data directory across starts", () => {
  beforeAll(async () => void (local = await PretendedRun.open()));
  afterAll(() => local.close());
  /** What the run before said, which has stored a key. */
  let former: DevFile;

  test("ACCEPT_DURABILITY=memory: the embedded Redis syncs its file each second", async () => {
    void local.run([], { ACCEPT_DURABILITY: "memory" });
    await local.untilSaid("Petrel runs");
    expect(await local.syncs()).toBe("everysec");
  });

  test("dispatch pushes to the simulator with a local key that the simulator knows", async () => {
    const [consoleEnv, dispatch, simulator] = await Promise.all([0, 3, 4].map(local.environmentAt));
    expect(dispatch).toMatchObject({
      APNS_ENDPOINT: `https://127.0.0.1:${local.base + 6}`,
      APNS_SANDBOX_ENDPOINT: `https://localhost:${local.base + 6}`,
      APNS_CA_FILE: join(local.root, "deploy/local/certificates/authority.pem"),
    });
    expect(simulator).toMatchObject({
      PORT: String(local.base + 4),
      APNS_SIMULATOR_TLS_PORT: String(local.base + 6),
    });
    expect(consoleEnv?.["APNS_SIMULATOR_URL"]).toBe(`http://127.0.0.1:${local.base + 4}`);
    const keyFile = dispatch?.["APNS_KEY_FILE"] ?? "";
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    const known = parseKnownKeys(await readFile(simulator?.["APNS_SIMULATOR_KEYS_FILE"] ?? "", "utf8"));
    const key = known.get(dispatch?.["APNS_KEY_ID"] ?? "");
    expect(key?.teamId).toBe(dispatch?.["APNS_TEAM_ID"]);
    const signature = sign("sha256", Buffer.from("x"), await readFile(keyFile, "utf8"));
    expect(key && verify("sha256", Buffer.from("x"), key.publicKey, signature)).toBe(true);
  });

  test("a second start on the same data is refused while the first runs", async () => {
    const first = local.running;
    expect(await local.run([], { PETREL_PORT_BASE: "1" })).toBe(1);
    expect(local.complaints).toEqual([
      `Petrel already runs on ${local.data} (process ${process.pid}): stop it first (kill ${process.pid})`,
    ]);
    expect((await local.readJson<DevFile>(".data/dev.json")).auth).toBe(`http://127.0.0.1:${local.base + 1}`);
    local.complaints = [];
    local.running = first;
  });

  test("restarts a service that dies, the embedded Redis too, and says so in a line", async () => {
    const pids = await local.readJson<Record<string, number>>(".data/pids.json");
    await fetch(`http://127.0.0.1:${local.base + 2}/die`).catch(() => undefined);
    await local.untilSaid("collect … died (exit code 3), restarting in 0.25 s");
    await local.untilSaid("collect … ready again");
    process.kill(pidOf(pids, "redis"), "SIGKILL");
    await local.untilSaid("redis … died (SIGKILL), restarting in 0.25 s");
    await local.untilSaid("redis … ready again");
    const after = await local.readJson<Record<string, number>>(".data/pids.json");
    expect(after["collect"]).not.toBe(pids["collect"]);
    expect(after["auth"]).toBe(pids["auth"]);
    former = await local.readJson<DevFile>(".data/dev.json");
    await probeRedis(former.redis, [["SET", "k", "kept"]]);
    local.stop.abort();
    expect(await local.running).toBe(0);
    expect(Object.values(after).filter(isRunning)).toEqual([]);
  });

  test("data and keys are the same at the next start", async () => {
    local.again();
    void local.run();
    await local.untilSaid("Petrel runs");
    const now = await local.readJson<DevFile>(".data/dev.json");
    expect(now).toEqual(former);
    expect(await probeRedis(now.redis, [["GET", "k"]])).toEqual(["kept"]);
  });

  test.each([[["apnsKey", "redisPassword"]], [["redisPassword"]]])(
    "secrets of a version without %j are completed; the others and the data stay",
    async (added) => {
      const { redis } = await local.readJson<DevFile>(".data/dev.json");
      await probeRedis(redis, [["SET", "k", "kept"]]);
      local.stop.abort();
      await local.running;
      const made = Object.entries(await local.readJson<object>(".data/secrets.json"));
      const others = Object.fromEntries(made.filter(([name]) => !added.includes(name)));
      await writeFile(join(local.data, "secrets.json"), JSON.stringify(others));
      local.again();
      void local.run();
      await local.untilSaid("Petrel runs");
      const completed = await local.readJson<Record<string, unknown>>(".data/secrets.json");
      expect(completed).toMatchObject(others);
      expect(Object.keys(completed).toSorted()).toEqual(made.map(([name]) => name).toSorted());
      for (const [name, value] of made) {
        if (added.includes(name)) expect(completed[name]).not.toEqual(value);
      }
      const { redis: opened } = await local.readJson<DevFile>(".data/dev.json");
      expect(await probeRedis(opened, [["GET", "k"]])).toEqual(["kept"]);
      await expect(probeRedis(redis, [["PING"]])).rejects.toThrow(/login was refused/);
    },
  );
});

describe("a run of its own", () => {
  beforeEach(async () => void (local = await PretendedRun.open()));
  afterEach(() => local.close());

  test("everything starts, is described, and stops in order without leaving a process", async () => {
    const code = local.run(["--nodes", "3", "--collects", "2", "--dispatchers", "2"]);
    await local.untilSaid("Petrel runs");
    const dev = await local.readJson<DevFile>(".data/dev.json");
    const secrets = await local.readJson<LocalSecrets>(".data/secrets.json");
    const at = (offset: number): string => `http://127.0.0.1:${local.base + offset}`;
    expect(dev).toEqual({
      auth: at(1),
      collect: at(2),
      collects: [at(2), at(40)],
      dispatch: at(3),
      console: at(0),
      nodes: [10, 11, 12].map((offset) => `ws://127.0.0.1:${local.base + offset}/v1/connect`),
      apnsSimulator: at(4),
      webPushSimulator: at(29),
      wechatSimulator: at(5),
      wechatAppid: "wxdemoaccount",
      redis: `redis://:${secrets.redisPassword}@127.0.0.1:${local.base + 9}`,
      apiKey: expect.stringMatching(/^pk_[A-Za-z0-9_-]{12,}$/),
      apiSecret: expect.stringMatching(/^[A-Za-z0-9_-]{43,}$/),
      adminToken: `${secrets.adminKey.id}.${secrets.adminKey.secret}`,
    });
    expect(secrets.apiKey).toEqual({ id: dev.apiKey, secret: dev.apiSecret });
    expect(await local.mode(".data/dev.json")).toBe("600");
    expect(local.said(`-H 'Authorization: Bearer ${dev.apiKey}.${dev.apiSecret}'`)).toBe(true);
    expect(await probeRedis(dev.redis, [["PING"]])).toEqual(["PONG"]);
    expect(local.lines.filter((line) => line.includes(secrets.redisPassword))).toEqual([]);

    const pids = await local.readJson<Record<string, number>>(".data/pids.json");
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
    expect((await local.events("start")).slice(0, 4).toSorted()).toEqual([
      "apns-simulator",
      "auth",
      "web-push-simulator",
      "wechat-simulator",
    ]);

    local.stop.abort();
    expect(await code).toBe(0);
    expect(local.complaints).toEqual([]);
    const stopped = await local.events("stop");
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
    expect(Object.values(pids).filter(isRunning)).toEqual([]);
    for (const gone of ["dev.json", "lock", "pids.json"]) {
      await expect(local.read(`.data/${gone}`)).rejects.toThrow(/ENOENT/);
    }
  });

  test("takes over a lock whose holder is gone; --no-restart leaves a dead service, says so, and still stops cleanly", async () => {
    await mkdir(local.data);
    // This process's id, but another start: the id was used again.
    await writeFile(join(local.data, "lock"), `${process.pid} 1`);
    void local.run(["--no-restart"]);
    await local.untilSaid("Petrel runs");
    await fetch(`http://127.0.0.1:${local.base + 3}/die`).catch(() => undefined);
    await local.untilSaid("dispatch-1 … died (exit code 3) and stays dead");
    local.stop.abort();
    expect(await local.running).toBe(0);
    expect(local.said("restarting")).toBe(false);
  });

  test("names a service that cannot start, with the end of its log, and stops the others", async () => {
    expect(await local.run([], { PRETEND_BROKEN: "push-node" })).toBe(1);
    expect(local.complaints).toHaveLength(1);
    expect(local.complaints[0]).toMatch(
      /^push-node-\d died \(exit code 7\) before it was ready; the end of .*no such key: EKEY$/s,
    );
    expect(local.said("Petrel runs")).toBe(false);
    expect(await local.events("stop")).toContain("auth");
    await expect(probeRedis(`redis://127.0.0.1:${local.base + 9}`, [["PING"]])).rejects.toThrow(
      /ECONNREFUSED/,
    );
    await expect(local.read(".data/dev.json")).rejects.toThrow(/ENOENT/);
  });

  test("a stop during the start is clean", async () => {
    void local.run();
    await local.untilSaid("redis … ready");
    local.stop.abort();
    expect(await local.running).toBe(0);
    expect(local.complaints).toEqual([]);
  });

  test("the second Ctrl-C ends everything at once, even paused processes", async () => {
    void local.run();
    await local.untilSaid("Petrel runs");
    const pids = await local.readJson<Record<string, number>>(".data/pids.json");
    process.kill(pidOf(pids, "collect"), "SIGSTOP");
    local.stop.abort();
    local.kill.abort();
    expect(await local.running).toBe(1);
    expect(Object.values(pids).filter(isRunning)).toEqual([]);
  });
});
