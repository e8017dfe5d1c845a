// Runs deploy/docker/back-up-redis.sh against a real Redis, and starts another one from the copy.
// Guarantees: what was written before is in the copy; Redis rewrites its file again afterwards, also when the copy fails;
// a copy that is not whole bears no name of one.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtimeEnvironment } from "@petrel/shared/embedded-redis/inspect-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { findTestServer } from "@petrel/shared/testing/redis/find-test-server";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";

const script = fileURLToPath(new URL("../../deploy/docker/back-up-redis.sh", import.meta.url));
const run = promisify(execFile);

let parent: string;
let data: string;
let target: string;
let redis: TestRedis;
let environment: Record<string, string | undefined>;

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), "petrel-backup-"));
  [data, target] = [join(parent, "data"), join(parent, "target")];
  for (const directory of [data, target]) mkdirSync(directory);
  writeFileSync(join(parent, "password"), "operators-own");
  redis = await startRedis({ appendOnly: true, directory: data, password: "operators-own" });
  // The server's own redis-cli, where it has one beside it.
  const binary = await findTestServer(process.env);
  environment = {
    ...runtimeEnvironment(binary, process.env),
    PATH: `${dirname(binary.path)}${delimiter}${process.env["PATH"] ?? ""}`,
    REDIS_PORT: new URL(redis.url).port,
    REDIS_PASSWORD_FILE: join(parent, "password"),
    REDIS_DATA: data,
    BACKUP_TARGET: target,
    BACKUP_KEEP: "2",
  };
});
afterAll(async () => {
  await redis.stop();
  rmSync(parent, { recursive: true, force: true });
});

const percentage = () => probeRedis(redis.url, [["CONFIG", "GET", "auto-aof-rewrite-percentage"]]);
const copies = (): string[] => readdirSync(target).sort();

test("a copy starts another Redis with what was written before; the oldest copies are removed", async () => {
  for (const day of ["20200101", "20200102"]) writeFileSync(join(target, `petrel-${day}T000000Z.tar.gz`), "");
  await probeRedis(redis.url, [
    ["CONFIG", "SET", "auto-aof-rewrite-percentage", "100"],
    ["SET", "petrel:a", "before"],
  ]);
  const { stdout } = await run("bash", [script, "once"], { env: environment });
  await probeRedis(redis.url, [["SET", "petrel:a", "after"]]);
  expect(stdout).toMatch(/^backup: petrel-\d{8}T\d{6}Z\.tar\.gz, \d+ bytes\n$/);
  const [older, newest = "", ...others] = copies();
  expect([older, others]).toEqual(["petrel-20200102T000000Z.tar.gz", []]);
  expect(await percentage()).toEqual([["auto-aof-rewrite-percentage", "100"]]);

  // As docs/operate/runbooks.md restores it.
  const restored = join(parent, "restored");
  mkdirSync(restored);
  await run("tar", ["-xzf", join(target, newest), "-C", restored]);
  const other = await startRedis({ appendOnly: true, directory: restored });
  try {
    expect(await probeRedis(other.url, [["GET", "petrel:a"]])).toEqual(["before"]);
  } finally {
    await other.stop();
  }
});

test("a failed copy leaves no file, and Redis as it was", async () => {
  const before = copies();
  const failed = run("bash", [script, "once"], { env: { ...environment, REDIS_DATA: join(parent, "none") } });
  await expect(failed).rejects.toMatchObject({ stderr: expect.stringContaining("tar failed") as string });
  expect(copies()).toEqual(before);
  expect(await percentage()).toEqual([["auto-aof-rewrite-percentage", "100"]]);
  const wrong = run("bash", [script, "once"], { env: { ...environment, REDIS_PASSWORD_FILE: "/dev/null" } });
  await expect(wrong).rejects.toThrow();
  expect(copies()).toEqual(before);
});

test("on its own it copies at once, goes on after a failure, and ends when told to", async () => {
  for (const name of copies()) rmSync(join(target, name));
  writeFileSync(join(target, ".petrel-cut-off.tar.gz"), "");
  const check = () =>
    run("bash", [script, "check"], { env: environment }).then(...([() => true, () => false] as const));
  expect(await check()).toBe(false);
  const loop = spawn("bash", [script], { env: environment, stdio: "ignore" });
  const ended = once(loop, "exit");
  await waitFor(() => copies().some((name) => name.startsWith("petrel-")), { what: "a first copy" });
  expect(existsSync(join(target, ".petrel-cut-off.tar.gz"))).toBe(false);
  expect(await check()).toBe(true);
  loop.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});
