// Bench: nginx and its module nchan out of Debian's or Ubuntu's packages, unpacked and not installed.
// Guarantees: fetched once; the version that was fetched is told.
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  candidateVersion,
  hasApt,
  refreshLists,
  unpackPackages,
} from "@petrel/shared/embedded-redis/install/fetch-apt-packages";
import { runCommand } from "@petrel/shared/embedded-redis/run-command";
import { peerDirectory } from "./peer-cache.js";

/** Where Debian's nginx puts its temporary files. */
const SCRATCH = "/var/lib/nginx";
const MODULE_PACKAGE = "libnginx-mod-nchan";

export interface InstalledNchan {
  readonly nginx: string;
  readonly module: string;
  readonly version: string;
  readonly isRoot: boolean;
}

export async function installNchan(): Promise<InstalledNchan | { leftOut: string }> {
  const directory = peerDirectory("nchan");
  const environment = process.env;
  if (process.getuid?.() !== 0 && !existsSync(SCRATCH))
    return { leftOut: `nchan: its nginx needs ${SCRATCH}, or root` };
  const known = await readFile(join(directory, "version"), "utf8").catch(() => undefined);
  if (known !== undefined) return installedIn(directory, known);
  if (!(await hasApt(environment))) return { leftOut: "nchan: this machine has no apt to fetch it with" };
  try {
    const fresh = `${directory}.new`;
    await rm(fresh, { recursive: true, force: true });
    await mkdir(fresh, { recursive: true });
    if ((await candidateVersion(MODULE_PACKAGE, environment)) === undefined) await refreshLists(environment);
    const version = await candidateVersion(MODULE_PACKAGE, environment);
    if (version === undefined) return { leftOut: `nchan: no package ${MODULE_PACKAGE}` };
    await unpackPackages(["nginx", MODULE_PACKAGE], fresh, environment);
    const { nginx } = installedIn(fresh, version);
    const { code, stderr } = await runCommand(nginx, ["-v"], { environment });
    if (code !== 0) return { leftOut: `nchan: the unpacked nginx does not start: ${stderr}` };
    await writeFile(join(fresh, "version"), version);
    await rm(directory, { recursive: true, force: true });
    await rename(fresh, directory);
    return installedIn(directory, version);
  } catch (error) {
    return { leftOut: `nchan: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function installedIn(directory: string, version: string): InstalledNchan {
  const root = join(directory, "root", "usr");
  return {
    nginx: join(root, "sbin", "nginx"),
    module: join(root, "lib", "nginx", "modules", "ngx_nchan_module.so"),
    version,
    isRoot: process.getuid?.() === 0,
  };
}
