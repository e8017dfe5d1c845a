// Embedded Redis: which servers Petrel runs on.
// Guarantees: Redis from 7.0 and Valkey from 7.2 pass (sharded pub/sub, script flags); everything older does not.

export interface ServerVersion {
  readonly product: "Redis" | "Valkey";
  /** As the server states it, such as "7.0.15". */
  readonly version: string;
}

const oldest = { Redis: [7, 0], Valkey: [7, 2] } as const;

/** @param output of `redis-server --version`, such as "Redis server v=7.0.15 sha=…" */
export function parseVersionOutput(output: string): ServerVersion | undefined {
  const match = /\b(redis|valkey)\b.*?\bv=(\d+\.\d+(?:\.\d+)?)/i.exec(output);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { product: match[1].toLowerCase() === "valkey" ? "Valkey" : "Redis", version: match[2] };
}

/** @param info the answer to `INFO server`; besides its own version, Valkey gives a redis_version for old clients */
export function parseInfo(info: string): ServerVersion | undefined {
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1];
  if (valkey !== undefined) return { product: "Valkey", version: valkey };
  const redis = /^redis_version:(\S+)/m.exec(info)?.[1];
  return redis === undefined ? undefined : { product: "Redis", version: redis };
}

export function isSupported({ product, version }: ServerVersion): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = oldest[product];
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

/** The requirement, for messages. */
export const supportedVersions = "Redis 7.0 or Valkey 7.2, or newer";
