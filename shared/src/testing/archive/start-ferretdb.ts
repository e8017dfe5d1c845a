// Tests only: a server that speaks MongoDB's protocol: FerretDB on SQLite, built once from test/support/ferretdb.
// Guarantees: own port and directory, both gone after `stop()`; the process ends with the one that started it. If it
// cannot be built there is none, and one line says why.
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { freePort } from "../free-port.js";

const source = fileURLToPath(new URL("../../../../test/support/ferretdb/", import.meta.url));
const cache = fileURLToPath(new URL("../../../../.cache/ferretdb/", import.meta.url));
/** Named after the version in go.mod, so that another version is built separately. */
const binary = join(cache, "ferretdb-1.24.2");
const FERRETDB = "github.com/FerretDB/FerretDB";
const BUILD_DEADLINE_MS = 10 * 60_000;

/** Builds it unless that was done; with an empty module cache that takes minutes. @returns why there is none */
export function buildFerretDb(): string | undefined {
  if (existsSync(binary)) return undefined;
  if (spawnSync("go", ["version"]).status !== 0) return "Go is not installed";
  mkdirSync(cache, { recursive: true });
  const made = `${binary}.${process.pid}`;
  try {
    const options = { cwd: source, timeout: BUILD_DEADLINE_MS } as const;
    execFileSync("go", ["mod", "download", FERRETDB], { ...options, stdio: "ignore" });
    const found = execFileSync("go", ["list", "-m", "-f", "{{.Dir}}", FERRETDB], {
      ...options,
      encoding: "utf8",
    });
    const modfile = mendedModule(found.trim());
    execFileSync("go", ["build", `-modfile=${modfile}`, "-o", made, "."], {
      ...options,
      stdio: ["ignore", "ignore", "pipe"],
    });
    renameSync(made, binary);
    return undefined;
  } catch (error) {
    rmSync(made, { force: true });
    return `FerretDB could not be built: ${String(error).slice(0, 300)}`;
  }
}

/**
 * FerretDB 1.24 holds a connection for each update of a command until the command ends, and hangs at the hundredth: a
 * `defer` in a loop. @returns a go.mod that builds a patched copy
 */
function mendedModule(directory: string): string {
  const copy = join(cache, "module");
  if (!existsSync(copy)) cpSync(directory, copy, { recursive: true });
  const handler = join(copy, "internal", "handler");
  const file = join(handler, "msg_update.go");
  const text = readFileSync(join(directory, "internal", "handler", "msg_update.go"), "utf8");
  const call = /result, err := common\.UpdateDocument\([^\n]*\n/;
  const mended = text
    .replace("\t\tdefer closer.Close()\n", "")
    .replace(call, (line) => `${line}\t\tcloser.Close()\n`);
  if (mended.split("closer.Close()").length !== 2) throw new Error("FerretDB's update is not as it was");
  // The module cache's files are read-only, and so is their copy.
  chmodSync(handler, 0o755);
  rmSync(file, { force: true });
  writeFileSync(file, mended);
  const modfile = join(cache, "mended.mod");
  writeFileSync(modfile, `${readFileSync(join(source, "go.mod"), "utf8")}\nreplace ${FERRETDB} => ${copy}\n`);
  copyFileSync(join(source, "go.sum"), join(cache, "mended.sum"));
  return modfile;
}

/**
 * Whether tests of the archive can run. If it was not built, one line says so and they are skipped; with
 * PETREL_REQUIRE_FERRETDB=1, which `.ci/run` sets, they fail instead.
 */
export function hasFerretDb(): boolean {
  if (existsSync(binary)) return true;
  const line =
    "FerretDB is not there: tests of the message archive are left out (npm run test:install-ferretdb)";
  if (process.env["PETREL_REQUIRE_FERRETDB"] === "1") throw new Error(line);
  process.stdout.write(`\n${line}\n`);
  return false;
}

export interface TestFerretDb {
  /** Includes the database of the given name. */
  readonly url: (database?: string) => string;
  readonly port: number;
  /** The first process's. */
  readonly pid: number;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Starts it again after it was killed, on the same port and data. */
  readonly startAgain: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export async function startFerretDb(): Promise<TestFerretDb> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-ferretdb-"));
  const port = await freePort();
  let server = await launch(port, directory);
  return {
    url: (database = "petrel") => `mongodb://127.0.0.1:${port}/${database}`,
    port,
    pid: server.pid ?? 0,
    signal: (signal) => void server.kill(signal),
    startAgain: async () => {
      await ended(server);
      server = await launch(port, directory);
    },
    stop: async () => {
      server.kill("SIGKILL");
      await ended(server);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function launch(port: number, directory: string): Promise<ChildProcess> {
  const server = spawn(binary, [`127.0.0.1:${port}`, directory], { stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface({ input: server.stdout });
  const failed = ended(server).then(() => {
    throw new Error("FerretDB did not start");
  });
  await Promise.race([once(lines, "line"), failed]);
  failed.catch(() => undefined);
  return server;
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
}
