// Tests the embedded server as `npm start` runs it: with its append-only file.
// Guarantees: data outlives a stop and a crash; a server that cannot start says why.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../testing/free-port.js";
import { findRedisServer } from "./find-redis-server.js";
import { probeRedis } from "./resp-probe.js";
import { startRedisServer } from "./start-redis-server.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel redis-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function start(extraArgs: string[] = []) {
  const binary = await findRedisServer({ environment: process.env });
  return startRedisServer({ binary, port: await freePort(), directory, environment: process.env, extraArgs });
}

test("it runs with the settings that Petrel needs", async () => {
  const server = await start();
  const names = ["appendonly", "appendfsync", "save", "maxmemory-policy", "bind"];
  const [settings] = await probeRedis(server.url, [["CONFIG", "GET", ...names]]);
  const found = new Map<unknown, unknown>();
  for (let i = 0; Array.isArray(settings) && i < settings.length; i += 2)
    found.set(settings[i], settings[i + 1]);
  expect(names.map((name) => found.get(name))).toEqual(["yes", "everysec", "", "noeviction", "127.0.0.1"]);
  await server.stop();
  expect(await server.exited).toMatchObject({ code: 0 });
});

test("data is still there after a stop, and what was synced after a crash", async () => {
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

test("a setting it does not know is an error that says which", async () => {
  await expect(start(["--no-such-setting", "1"])).rejects.toThrow(/ended at once.*no-such-setting/s);
});

test("a port that somebody has is an error, not somebody else's server", async () => {
  const first = await start();
  const binary = await findRedisServer({ environment: process.env });
  const other = await mkdtemp(join(tmpdir(), "petrel-redis-"));
  await expect(
    startRedisServer({ binary, port: first.port, directory: other, environment: process.env }),
  ).rejects.toThrow(/ended at once/);
  await first.stop();
  await rm(other, { recursive: true });
});
