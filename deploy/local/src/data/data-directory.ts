// The local run: the directory with all stored data, `.data/`, and the lock on it.
// Guarantees: only one local run at a time has it; a lock whose holder is gone is ignored. Only the owner can read the
// directory, even after a copy with other permissions.
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { LocalRunError, systemErrorCode } from "../local-run-error.js";

export interface DataDirectory {
  readonly path: string;
  readonly redis: string;
  readonly logs: string;
  readonly secrets: string;
  /** Releases it to the next local run. */
  release(): Promise<void>;
}

/**
 * Creates the directory if it is missing, and takes its lock.
 * @throws LocalRunError if it is not writable, or another local run has it
 */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  const directories = {
    redis: join(path, "redis"),
    logs: join(path, "logs"),
    secrets: join(path, "secrets"),
  };
  const lockFile = join(path, "lock");
  try {
    for (const directory of [path, ...Object.values(directories)]) {
      await makeDirectory(resolve(directory));
    }
    // Redis's files get the permissions that the umask leaves.
    for (const directory of Object.values(directories)) {
      if (((await stat(directory)).mode & 0o077) !== 0) await chmod(directory, 0o700);
    }
    await takeLock(lockFile, path);
  } catch (error) {
    if (error instanceof LocalRunError) throw error;
    throw new LocalRunError(
      `the data directory ${path} cannot be written to (${systemErrorCode(error) ?? String(error)}): ` +
        "make it writable, or set PETREL_DATA_DIR to another",
      { cause: error },
    );
  }
  return { path, ...directories, release: () => rm(lockFile, { force: true }) };
}

/**
 * Creates a directory and its missing parents, one at a time: Node 20's own `recursive` never ends on a file system
 * (such as /proc) that reports ENOENT for a directory whose parent exists.
 */
async function makeDirectory(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory() === true) return;
  if (dirname(path) !== path) await makeDirectory(dirname(path));
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    // Another process has created it meanwhile; a file of that name is an error.
    if (systemErrorCode(error) !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
  }
}

async function takeLock(lockFile: string, path: string): Promise<void> {
  const mine = await describeProcess(process.pid);
  // Twice: the second time after a dead process's lock was removed. If two do that at the same moment, the port check
  // stops one.
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(lockFile, mine, { flag: "wx", mode: 0o600 });
      return;
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST") throw error;
    }
    const holder = await readFile(lockFile, "utf8").catch(() => "");
    const pid = Number.parseInt(holder, 10);
    if (pid > 0 && (await describeProcess(pid)) === holder && isAlive(pid)) {
      throw new LocalRunError(`Petrel already runs on ${path} (process ${pid}): stop it first (kill ${pid})`);
    }
    const stale = `${lockFile}.${process.pid}.stale`;
    await rename(lockFile, stale).catch(() => undefined);
    await rm(stale, { force: true });
  }
  throw new LocalRunError(`another start of Petrel took ${path} a moment ago`);
}

/** A process's id and start time, because ids are reused: "pid start"; field 22 of /proc/<pid>/stat, proc(5). */
async function describeProcess(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const afterName = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return `${pid} ${afterName[19] ?? "unknown"}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
