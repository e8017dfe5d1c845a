// The local run: checks the Redis of REDIS_URL before anything starts.
// Guarantees: one that does not answer, is too old, or would drop data is refused, in one line without its password.
import { probeRedis, RespError } from "@petrel/shared/embedded-redis/resp-probe";
import { isSupported, parseInfo, supportedVersions } from "@petrel/shared/embedded-redis/server-version";
import { describeError } from "@petrel/shared/kernel/errors";
import { LocalRunError } from "./local-run-error.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

/**
 * @returns the product and version, such as "Redis 7.0.15"
 * @throws LocalRunError
 */
export async function checkRedis(url: string): Promise<string> {
  const parsed = parseUrl(url);
  if (parsed === undefined || !["redis:", "rediss:"].includes(parsed.protocol)) {
    throw new LocalRunError("REDIS_URL must be redis://[user:password@]host:port[/db] or rediss://…");
  }
  const where = `the Redis of REDIS_URL (${parsed.host})`;
  const [info] = await probeRedis(url, [["INFO"]]).catch((error: unknown) => {
    throw new LocalRunError(`${where} cannot be reached: ${describeError(error)}`, { cause: error });
  });
  if (info instanceof RespError) throw new LocalRunError(`${where} refuses: ${info.message}`);
  const version = typeof info === "string" ? parseInfo(info) : undefined;
  if (version === undefined || typeof info !== "string") {
    throw new LocalRunError(`${where} does not say which version it is; Petrel needs ${supportedVersions}`);
  }
  const description = `${version.product} ${version.version}`;
  if (!isSupported(version)) {
    throw new LocalRunError(
      `${where} is ${description}, which is too old; Petrel needs ${supportedVersions}`,
    );
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy !== undefined && policy !== "noeviction") {
    throw new LocalRunError(
      `${where} evicts (maxmemory-policy ${policy}), so messages would vanish: ` +
        "CONFIG SET maxmemory-policy noeviction",
    );
  }
  if (/^loading:1/m.test(info)) throw new LocalRunError(`${where} is still loading its data: try again soon`);
  return description;
}
