#!/usr/bin/env node
// Dockerfile (and its test) -> here -> the directory that becomes a service's /app.
// Guarantees: that service's own files, the workspaces it needs and their production dependencies, as npm has laid them
// out; nothing else. Everything lies where it lies in the repository, so that paths between parts hold.
//
//   node deploy/docker/assemble-service.mjs <service> <directory>
//
// Run it after `npm ci` and `tsc -b`. The directory must be absent or empty.
import {
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
} from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = realpathSync(fileURLToPath(new URL("../..", import.meta.url)));

/** What a service is made of, beside its package.json and its dependencies: `parts` of its workspace. */
const services = {
  auth: { workspace: "services/auth", parts: ["dist"] },
  collect: { workspace: "services/collect", parts: ["dist"] },
  dispatch: { workspace: "services/dispatch", parts: ["dist"] },
  "push-node": { workspace: "services/push-node", parts: ["dist"] },
  console: { workspace: "services/console", parts: ["dist", "public"] },
  toolbox: { workspace: "clients/cli", parts: ["bin", "dist"] },
  "apns-simulator": {
    workspace: "deploy/local",
    parts: ["dist/apns-simulator", "dist/simulator-control", "certificates"],
  },
};

/** What other workspaces need beside `dist`: scripts are read from where they are written. */
const partsOfWorkspace = { shared: ["dist", "src/redis"] };

/** Of our own files: what only compilers, debuggers and tests read, and what starts servers for them. */
const leftOut = [
  /^src\/.*\.(ts|md)$/,
  /\.d\.ts$/,
  /\.map$/,
  /\.tsbuildinfo$/,
  /\.test\.(js|ts)$/,
  /(^|\/)testing(\/|$)/,
  /(^|\/)embedded-redis(\/|$)/,
];

/** Of others' files: what compilers and debuggers read, which is half of them. */
const unreadInPackages = /\.(d\.[cm]?ts|map)$/;

class AssemblyError extends Error {}

/**
 * @typedef {{
 *   dependencies?: Record<string, string>,
 *   optionalDependencies?: Record<string, string>,
 *   peerDependencies?: Record<string, string>,
 *   peerDependenciesMeta?: Record<string, { optional?: boolean }>,
 * }} Manifest
 */

/**
 * @param {string} directory
 * @returns {Manifest}
 */
function readManifest(directory) {
  return JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
}

/**
 * Where Node finds a package, looking from `directory` upwards.
 * @param {string} name
 * @param {string} directory
 * @returns {string | undefined} as it stands in a node_modules, which may be a link
 */
function findPackage(name, directory) {
  for (let at = directory; at.startsWith(root); at = dirname(at)) {
    const candidate = join(at, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
  }
  return undefined;
}

/**
 * The packages that one needs at run time.
 * @param {Manifest} manifest
 * @returns {{ name: string, isRequired: boolean }[]}
 */
function dependenciesOf({
  dependencies = {},
  optionalDependencies = {},
  peerDependencies = {},
  peerDependenciesMeta = {},
}) {
  const optional = new Set([
    ...Object.keys(optionalDependencies),
    ...Object.keys(peerDependenciesMeta).filter((name) => peerDependenciesMeta[name].optional === true),
  ]);
  const named = { ...dependencies, ...optionalDependencies, ...peerDependencies };
  // An optional peer is somebody else's dependency, or nobody's.
  return Object.keys(named)
    .filter((name) => !(optional.has(name) && name in peerDependencies && !(name in optionalDependencies)))
    .map((name) => ({ name, isRequired: !optional.has(name) }));
}

/**
 * All that is needed from `workspace` on.
 * @param {string} workspace
 * @returns {{ workspaces: Set<string>, packages: Set<string>, links: Map<string, string> }} from the root, all
 */
function walkDependencies(workspace) {
  const workspaces = new Set();
  const packages = new Set();
  const links = new Map();
  const open = [workspace];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const isWorkspace = !path.split(sep).includes("node_modules");
    const seen = isWorkspace ? workspaces : packages;
    if (seen.has(path)) continue;
    seen.add(path);
    for (const { name, isRequired } of dependenciesOf(readManifest(join(root, path)))) {
      const found = findPackage(name, join(root, path));
      if (found === undefined) {
        if (isRequired) throw new AssemblyError(`${path} needs ${name}, which is not installed: run npm ci`);
        continue;
      }
      const target = relative(root, realpathSync(found));
      const place = relative(root, found);
      if (place !== target) links.set(place, target);
      open.push(target);
    }
  }
  return { workspaces, packages, links };
}

/**
 * Some five thousand small files for a service: `cp` looks at each of them five times.
 * @param {string} source
 * @param {string} target
 * @param {(file: string) => boolean} isWanted
 */
function copyTree(source, target, isWanted) {
  if (!isWanted(source)) return;
  if (!lstatSync(source).isDirectory()) {
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(source, target);
    return;
  }
  mkdirSync(target, { recursive: true });
  for (const entry of readdirSync(source, { withFileTypes: true })) {
    const [from, to] = [join(source, entry.name), join(target, entry.name)];
    if (entry.isDirectory()) copyTree(from, to, isWanted);
    else if (isWanted(from)) {
      if (entry.isFile()) copyFileSync(from, to);
      else cpSync(from, to);
    }
  }
}

/**
 * @param {string} path of a workspace
 * @param {readonly string[]} parts
 * @param {string} directory
 */
function copyWorkspace(path, parts, directory) {
  for (const part of ["package.json", ...parts]) {
    const source = join(root, path, part);
    if (!existsSync(source)) throw new AssemblyError(`there is no ${join(path, part)}: run tsc -b`);
    copyTree(
      source,
      join(directory, path, part),
      (file) => !leftOut.some((pattern) => pattern.test(relative(join(root, path), file))),
    );
  }
}

/**
 * @param {string} path of a package, from the root
 * @param {string} directory
 */
function copyPackage(path, directory) {
  const source = join(root, path);
  copyTree(
    source,
    join(directory, path),
    // Those below it are packages of their own: walked, where they are needed.
    (file) => file === source || (basename(file) !== "node_modules" && !unreadInPackages.test(file)),
  );
}

/**
 * @param {string | undefined} name
 * @param {string | undefined} directory
 */
function assemble(name, directory) {
  const service = services[name ?? ""];
  if (service === undefined || directory === undefined) {
    throw new AssemblyError(`assemble-service.mjs <${Object.keys(services).join(" | ")}> <directory>`);
  }
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new AssemblyError(`${directory} is not empty`);
  }
  const { workspaces, packages, links } = walkDependencies(service.workspace);
  for (const path of workspaces) {
    const parts = path === service.workspace ? service.parts : (partsOfWorkspace[path] ?? ["dist"]);
    copyWorkspace(path, parts, directory);
  }
  for (const path of packages) copyPackage(path, directory);
  for (const [place, target] of links) {
    const link = join(directory, place);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(place), target), link);
  }
  if (name !== "toolbox") {
    const healthcheck = fileURLToPath(new URL("healthcheck.mjs", import.meta.url));
    copyFileSync(healthcheck, join(directory, "healthcheck.mjs"));
  }
  for (const file of ["LICENSE", "NOTICE"]) copyFileSync(join(root, file), join(directory, file));
  process.stdout.write(`${name}: ${workspaces.size} workspaces, ${packages.size} packages\n`);
}

try {
  assemble(process.argv[2], process.argv[3]);
} catch (error) {
  if (!(error instanceof AssemblyError)) throw error;
  process.stderr.write(`assemble-service: ${error.message}\n`);
  process.exitCode = 1;
}
