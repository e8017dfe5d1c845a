// redis-target -> here -> connect: the password, authorities and certificate for a link to Redis.
// Guarantees: files are read again for each new link, so a rotation needs no restart. An unusable file is logged once,
// and the previous content stays in use. A certificate and its key change together or not at all.
import { readFileSync } from "node:fs";
import type { RedisOptions } from "ioredis";
import { ConfigError } from "../../kernel/config.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import type { WatchedCertificates } from "../../kernel/tls/certificate-times.js";
import { checkBegun, checkPair, readCertificate } from "../../kernel/tls/read-certificate.js";

/** The credentials' settings. Each secret is given as text or as a file, not both. */
export interface RedisAccessSettings {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  readonly sentinelPasswordFile?: string | undefined;
  readonly isEncrypted: boolean;
  readonly caFile?: string | undefined;
  /** Both or neither. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface RedisTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface RedisCredentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly sentinelPassword: string | undefined;
  /** Set if the link is encrypted. */
  readonly tls: RedisTls | undefined;
}

/** One or more files that are read as a unit. */
interface Part {
  /** For logs and errors. */
  readonly what: string;
  readonly variables: string;
  readonly read: () => readonly string[];
  current: readonly string[];
  /** The last refusal, so that it is logged once. */
  refused: string;
}

export class RedisAccess {
  readonly #settings: RedisAccessSettings;
  readonly #parts = new Map<"password" | "sentinelPassword" | "ca" | "pair", Part>();

  /** @throws ConfigError naming the variable whose file cannot be used */
  constructor(settings: RedisAccessSettings) {
    this.#settings = settings;
    const { passwordFile, sentinelPasswordFile, caFile, certFile, keyFile } = settings;
    if (passwordFile !== undefined) {
      this.#add("password", "password", "REDIS_PASSWORD_FILE", () => [readSecret(passwordFile)]);
    }
    if (sentinelPasswordFile !== undefined) {
      this.#add("sentinelPassword", "password of the sentinels", "REDIS_SENTINEL_PASSWORD_FILE", () => [
        readSecret(sentinelPasswordFile),
      ]);
    }
    if (caFile !== undefined)
      this.#add("ca", "authorities", "REDIS_CA_FILE", () => [readAuthorities(caFile)]);
    if (certFile !== undefined && keyFile !== undefined) {
      this.#add("pair", "client certificate", "REDIS_CERT_FILE, REDIS_KEY_FILE", () =>
        readPair(certFile, keyFile),
      );
    }
  }

  get isEncrypted(): boolean {
    return this.#settings.isEncrypted;
  }

  /** The credentials as last read. */
  get credentials(): RedisCredentials {
    const { username, password, sentinelPassword, isEncrypted } = this.#settings;
    const [ca] = this.#parts.get("ca")?.current ?? [];
    const [cert, key] = this.#parts.get("pair")?.current ?? [];
    return {
      username,
      password: this.#parts.get("password")?.current[0] ?? password,
      sentinelPassword: this.#parts.get("sentinelPassword")?.current[0] ?? sentinelPassword,
      tls: isEncrypted
        ? {
            ...(ca === undefined ? {} : { ca }),
            ...(cert === undefined || key === undefined ? {} : { cert, key }),
          }
        : undefined,
    };
  }

  /** For a link that is being opened. The files are small and rarely read. */
  readAgain(logger: Pick<Logger, "info" | "warn">): RedisCredentials {
    for (const part of this.#parts.values()) {
      const { what, variables } = part;
      try {
        const next = part.read();
        part.refused = "";
        if (next.every((text, i) => text === part.current[i])) continue;
        part.current = next;
        logger.info({ what, variables }, "redis: settings for new connections changed");
      } catch (error) {
        // For example, only half of a pair was replaced so far, and the other half follows in a moment.
        const reason = describeError(error);
        if (reason === part.refused) continue;
        part.refused = reason;
        logger.warn({ what, variables, reason }, "redis: a file cannot be used; keeping the previous values");
      }
    }
    return this.credentials;
  }

  /** What new links use. */
  watched(logger: Pick<Logger, "info" | "warn">): readonly WatchedCertificates[] {
    return [
      { use: "redis_client", kind: "chain", read: () => this.readAgain(logger).tls?.cert },
      { use: "redis_ca", kind: "authorities", read: () => this.readAgain(logger).tls?.ca },
    ];
  }

  #add(
    name: "password" | "sentinelPassword" | "ca" | "pair",
    what: string,
    variables: string,
    read: Part["read"],
  ): void {
    try {
      this.#parts.set(name, { what, variables, read, current: read(), refused: "" });
    } catch (error) {
      throw new ConfigError(`${variables} cannot be used: ${describeError(error)}`);
    }
  }
}

/**
 * Makes an ioredis client ask `access` each time it opens its link, because it reads these options only then.
 * @param options of an existing client: ioredis copies the ones that it is given
 */
export function followAccess(
  options: RedisOptions,
  access: RedisAccess,
  logger: Pick<Logger, "info" | "warn">,
): void {
  follow(options, "password", () => access.readAgain(logger).password);
  follow(options, "sentinelPassword", () => access.readAgain(logger).sentinelPassword);
  if (!access.isEncrypted) return;
  follow(options, "tls", () => access.readAgain(logger).tls);
  follow(options, "sentinelTLS", () => access.readAgain(logger).tls);
}

/** The same for a link to a sentinel itself. */
export function followSentinelAccess(
  options: RedisOptions,
  access: RedisAccess,
  logger: Pick<Logger, "info" | "warn">,
): void {
  follow(options, "password", () => access.readAgain(logger).sentinelPassword);
  if (access.isEncrypted) follow(options, "tls", () => access.readAgain(logger).tls);
}

function follow<K extends keyof RedisOptions>(
  options: RedisOptions,
  name: K,
  read: () => RedisOptions[K],
): void {
  Object.defineProperty(options, name, { get: read, enumerable: true, configurable: true });
}

/** @throws if there is none */
function readSecret(file: string): string {
  // A secret written by an editor or `echo` ends with a line break.
  const secret = readFileSync(file, "utf8").replace(/\r?\n$/, "");
  if (secret === "") throw new Error("the file is empty");
  return secret;
}

function readAuthorities(file: string): string {
  const pem = readFileSync(file, "utf8");
  readCertificate(pem);
  return pem;
}

function readPair(certFile: string, keyFile: string): readonly string[] {
  const [cert, key] = [readFileSync(certFile, "utf8"), readFileSync(keyFile, "utf8")];
  checkPair(cert, key);
  checkBegun(cert);
  return [cert, key];
}
