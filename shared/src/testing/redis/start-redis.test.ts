// Tests the tests' own Redis: that it is real, separate, and gone afterwards.
// Guarantees: no process is left, neither by stop() nor by the test process's sudden death.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isRunning } from "../is-running.js";
import { probeRedis } from "../../embedded-redis/resp-probe.js";
import { startRedis } from "./start-redis.js";
import { waitFor } from "../wait-for.js";

test("two servers are separate, and stop() leaves neither process nor directory", async () => {
  const [one, two] = await Promise.all([startRedis(), startRedis()]);
  await probeRedis(one.url, [["SET", "k", "1"]]);
  expect(await probeRedis(one.url, [["GET", "k"]])).toEqual(["1"]);
  expect(await probeRedis(two.url, [["GET", "k"]])).toEqual([null]);
  await Promise.all([one.stop(), two.stop()]);
  for (const { pid, directory } of [one, two]) {
    expect(isRunning(pid)).toBe(false);
    expect(existsSync(directory)).toBe(false);
  }
});

test("extra arguments reach the server", async () => {
  const redis = await startRedis({ extraArgs: ["--maxmemory", "8mb"] });
  expect(await probeRedis(redis.url, [["CONFIG", "GET", "maxmemory"]])).toEqual([
    ["maxmemory", String(8 * 1024 * 1024)],
  ]);
  await redis.stop();
});

test("stops even when paused", async () => {
  const redis = await startRedis();
  redis.signal("SIGSTOP");
  await redis.stop();
  expect(isRunning(redis.pid)).toBe(false);
});

test("ends when the test process dies without a chance to stop it", async () => {
  // The built module: a bare Node process cannot read this one.
  const built = new URL("../../../dist/testing/redis/start-redis.js", import.meta.url);
  const temporary = await mkdtemp(join(tmpdir(), "petrel-dying-"));
  const dying = spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `const { startRedis } = await import(${JSON.stringify(built.href)});
       const redis = await startRedis();
       process.stdout.write(String(redis.pid));
       setInterval(() => undefined, 1000);`,
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, TMPDIR: temporary } },
  );
  const pid = Number(String(await new Promise((resolve) => dying.stdout.once("data", resolve))));
  expect(isRunning(pid)).toBe(true);
  dying.kill("SIGKILL");
  await waitFor(() => !isRunning(pid), { what: "Redis to end with its parent" });
  await rm(temporary, { recursive: true });
});
