// Tests the embedded server as `npm start` runs it: with its append-only file.
// Guarantees: data outlives a stop and a crash; a server that cannot start says why; only its password opens it, and
// the password shows nowhere.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../testing/free-port.js";
import { findRedisServer } from "./install/find-redis-server.js";
import { probeRedis, RespError } from "./resp-probe.js";
import { startRedisServer } from "./start-redis-server.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel redis-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function start(extraArgs: string[] = [], password?: string) {
  const binary = await findRedisServer({ environment: process.env });
  const login = password === undefined ? {} : { password };
  const port = await freePort();
  return startRedisServer({ binary, port, directory, environment: process.env, extraArgs, ...login });
}

test("runs with the settings that Petrel needs", async () => {
  const server = await start();
  const names = ["appendonly", "appendfsync", "save", "maxmemory-policy", "bind", "stream-node-max-bytes"];
  const [settings] = await probeRedis(server.url, [["CONFIG", "GET", ...names]]);
  const found = new Map<unknown, unknown>();
  for (let i = 0; Array.isArray(settings) && i < settings.length; i += 2)
    found.set(settings[i], settings[i + 1]);
  expect(names.map((name) => found.get(name))).toEqual([
    "yes",
    "everysec",
    "",
    "noeviction",
    "127.0.0.1",
    "1024",
  ]);
  await server.stop();
  expect(await server.exited).toMatchObject({ code: 0 });
});

test("keeps data over a stop, and synced data over a crash", async () => {
  const first = await start();
  await probeRedis(first.url, [["SET", "k", "kept"]]);
  await first.stop();
  const second = await start();
  expect(await probeRedis(second.url, [["GET", "k"]])).toEqual(["kept"]);
  await probeRedis(second.url, [
    ["CONFIG", "SET", "appendfsync", "always"],
    ["SET", "k", "synced"],
  ]);
  second.signal("SIGKILL");
  expect(await second.exited).toMatchObject({ signal: "SIGKILL" });
  const third = await start();
  expect(await probeRedis(third.url, [["GET", "k"]])).toEqual(["synced"]);
  await third.stop();
});

test("names a setting it does not know", async () => {
  await expect(start(["--no-such-setting", "1"])).rejects.toThrow(/ended at once.*no-such-setting/s);
});

test("with a password, nobody connects without it", async () => {
  const open = await start();
  await probeRedis(open.url, [["SET", "k", "kept"]]);
  await open.stop();
  const password = 'a "quoted" \\ password@/:#';
  const server = await start([], password);
  const bare = `redis://127.0.0.1:${server.port}`;
  const refused = [expect.any(RespError), expect.any(RespError)];
  expect(await probeRedis(bare, [["PING"], ["GET", "k"]])).toEqual(refused);
  await expect(probeRedis(bare.replace("//", "//:wrong@"), [["PING"]])).rejects.toThrow(/login was refused/);
  expect(await probeRedis(server.url, [["PING"], ["GET", "k"]])).toEqual(["PONG", "kept"]);
  await server.stop();
});

test("keeps the password out of arguments, which every process list shows, and out of errors", async () => {
  const found = await findRedisServer({ environment: process.env });
  // Redis changes its title once it runs.
  const path = join(directory, "noting-server");
  const script = `#!/bin/sh\necho "$@" >> arguments\nexec '${found.path}' "$@"\n`;
  await writeFile(path, script, { mode: 0o755 });
  const options = { binary: { ...found, path }, directory, environment: process.env, password: "hush" };
  const server = await startRedisServer({ ...options, port: await freePort() });
  await server.stop();
  const args = await readFile(join(directory, "arguments"), "utf8");
  expect(args).toContain("--appendonly yes");
  expect(args).not.toContain("hush");
  const extraArgs = ["--no-such-setting", "hush"];
  await expect(startRedisServer({ ...options, port: await freePort(), extraArgs })).rejects.toThrow(
    /ended at once.*no-such-setting "?\[redacted\]/s,
  );
});

test("reports a port in use instead of using another's server", async () => {
  const first = await start();
  const binary = await findRedisServer({ environment: process.env });
  const other = await mkdtemp(join(tmpdir(), "petrel-redis-"));
  await expect(
    startRedisServer({ binary, port: first.port, directory: other, environment: process.env }),
  ).rejects.toThrow(/ended at once/);
  await first.stop();
  await rm(other, { recursive: true });
});
