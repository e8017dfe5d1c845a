// Tests only: the release before this tree, built from the repository's own history, to run beside this tree's build.
// Guarantees: built once, into .cache/release-before; all of its own sources, and this tree's packages only if its lock
// file asks for exactly those.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RELEASE_BUNDLES } from "@petrel/shared/testing/cluster/service-files";

/** The release before: the starting point of an upgrade to this tree. It moves on with each release. */
export const RELEASE_BEFORE = "4090ec9233462152c0d58257876811514e4fd2f6";

/** For the hook that calls `buildReleaseBefore`: on a busy machine with an empty cache. */
export const BUILD_DEADLINE_MS = 600_000;

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const MAX_OUTPUT_BYTES = 1024 ** 3;
/** Written last: says which packages the build was made with. */
const BUILT = "built-with-packages-and-host";
const projects = [
  "services/auth",
  "services/collect",
  "services/dispatch",
  "services/push-node",
  "services/console",
  "clients/browser",
];

/**
 * Whether this repository's history has it; a shallow clone and an archive do not. Says so if it is missing.
 * @throws if PETREL_REQUIRE_RELEASE_BEFORE is 1 and it is missing
 */
export async function hasReleaseBefore(): Promise<boolean> {
  const isThere = await run("git", ["cat-file", "-e", `${RELEASE_BEFORE}^{commit}`], { cwd: root }).then(
    () => true,
    () => false,
  );
  if (isThere) return true;
  const line = `the release before (${RELEASE_BEFORE.slice(0, 7)}) is not in this repository's history`;
  if (process.env["PETREL_REQUIRE_RELEASE_BEFORE"] === "1") throw new Error(line);
  process.stdout.write(`\n*** Left out: ${line}. A full clone has it. ***\n\n`);
  return false;
}

/** @returns the root of its built tree */
export async function buildReleaseBefore(): Promise<string> {
  const cache = join(root, ".cache", "release-before");
  const built = join(cache, RELEASE_BEFORE);
  const packages = createHash("sha256")
    .update(await readFile(join(root, "package-lock.json")))
    .digest("hex");
  if ((await readFile(join(built, BUILT), "utf8").catch(() => "")) === packages) return built;

  // Built aside and moved into place: two test files may come here at once.
  const making = join(cache, `making-${process.pid}-${Date.now()}`);
  await mkdir(making, { recursive: true });
  try {
    await unpack(making);
    if (await hasSamePackages(making)) await linkPackages(making);
    else await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: making, maxBuffer: MAX_OUTPUT_BYTES });
    await transpile(making);
    // As this tree's own: a start costs half as much.
    const { bundleProcesses, serviceMains, servicesTogether } = await import("../bundle-services.js");
    await bundleProcesses(making, serviceMains, join(making, RELEASE_BUNDLES), built, servicesTogether);
    await writeFile(join(making, BUILT), packages);
    await rename(making, built).catch(() => replace(making, built, packages));
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return built;
}

async function unpack(directory: string): Promise<void> {
  const archive = join(directory, "sources.tar");
  await run("git", ["archive", `--output=${archive}`, RELEASE_BEFORE], { cwd: root });
  await run("tar", ["-xf", archive], { cwd: directory });
  await rm(archive);
}

/** What `tsc -b` emits, in a tenth of the time: its types were checked when it was made. */
async function transpile(release: string): Promise<void> {
  // Loaded for this alone: it is large.
  const { transform } = await import("rolldown/utils");
  for (const folder of ["shared", ...projects]) {
    const sources = join(release, folder, "src");
    const names = await readdir(sources, { recursive: true });
    await Promise.all(
      names
        .filter((name) => name.endsWith(".ts") && !/\.(test|d)\.ts$/.test(name))
        .map(async (name) => {
          const source = join(sources, name);
          const { code, errors } = await transform(source, await readFile(source, "utf8"), {
            target: "es2023",
            typescript: { onlyRemoveTypeImports: true },
          });
          if (errors[0] !== undefined) throw new Error(`${source}: ${errors[0].message}`);
          const built = join(release, folder, "dist", name.replace(/\.ts$/, ".js"));
          await mkdir(dirname(built), { recursive: true });
          await writeFile(built, code);
        }),
    );
  }
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly link?: boolean }>>;
}

/** Whether everything in its lock file except workspaces is in this tree's, at the same place and version. */
async function hasSamePackages(release: string): Promise<boolean> {
  const read = async (tree: string): Promise<Lock> =>
    JSON.parse(await readFile(join(tree, "package-lock.json"), "utf8")) as Lock;
  const [its, ours] = [await read(release), await read(root)];
  return Object.entries(its.packages)
    .filter(([path, { link }]) => path.includes("node_modules/") && link !== true)
    .every(
      ([path, { version }]) => path.startsWith("node_modules/") && ours.packages[path]?.version === version,
    );
}

/** Each package is a link into this tree's node_modules; the workspaces are its own. */
async function linkPackages(release: string): Promise<void> {
  const [ours, its] = [join(root, "node_modules"), join(release, "node_modules")];
  await mkdir(join(its, "@petrel"), { recursive: true });
  const names = await readdir(ours);
  await Promise.all(
    names.filter((name) => name !== "@petrel").map((name) => symlink(join(ours, name), join(its, name))),
  );
  for (const folder of ["shared", ...projects]) {
    const { name } = JSON.parse(await readFile(join(release, folder, "package.json"), "utf8")) as {
      readonly name: string;
    };
    // Relative, because the tree is moved once it is built.
    await symlink(relative(dirname(join(its, name)), join(release, folder)), join(its, name));
  }
}

/** Another process was faster, or the existing tree was made with other packages. */
async function replace(making: string, built: string, packages: string): Promise<void> {
  if ((await readFile(join(built, BUILT), "utf8").catch(() => "")) === packages) return;
  await rm(built, { recursive: true, force: true });
  await rename(making, built);
}
