// The keys of business systems: their owners, their scopes, and the hashes of their secrets.
// Guarantees: a secret is stored only sealed, and only for a key that may sign. A revoked key stays revoked, whatever a
// key file says. An unchanged key file does not undo a rotation.
import { isProducerScope, type ProducerScope } from "../../protocol/producer-scopes.js";
import { authKeys } from "../auth/auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { Redis } from "../connection/connect.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface NewProducerKey {
  readonly id: string;
  readonly owner: string;
  readonly name: string;
  readonly scopes: readonly ProducerScope[];
  /** 64 lower-case hex characters. */
  readonly secretSha256: string;
  /** The secret, encrypted at rest; it allows the key to sign. */
  readonly sealedSecret?: string | undefined;
  /** Its requests must be signed. */
  readonly require?: "signature" | undefined;
  /** Replaces the limit of ordinary keys; 0: may send nothing. */
  readonly messagesPerSecond?: number | "unlimited" | undefined;
}

export interface ProducerKeyRecord extends NewProducerKey {
  /** RFC 3339, UTC, like all times here. */
  readonly createdAt: string;
  readonly rotatedAt?: string;
  readonly revokedAt?: string;
  /** It is refused until it is resumed. */
  readonly suspendedAt?: string;
  /** Secrets from before a rotation, newest first; some may have expired. */
  readonly former?: readonly FormerSecret[];
}

export interface FormerSecret {
  readonly secretSha256: string;
  readonly sealedSecret?: string;
  /** Redis's clock, ms: valid before this. */
  readonly untilMs: number;
}

/** A secret that may sign, as stored. */
export interface SealedSecret {
  readonly secretSha256: string;
  readonly sealedSecret: string;
}

/** The result of taking over an entry of a key file. */
export interface FileKeyResult {
  readonly record: ProducerKeyRecord;
  readonly change: "created" | "changed" | "none";
}

export interface ProducerKeyPage {
  readonly items: readonly ProducerKeyRecord[];
  /** The id after which to continue; undefined at the end. */
  readonly nextAfter: string | undefined;
}

/** For readers only. */
export class ProducerKeysReader {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Bound, so that it can be passed as `findKey`.
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here
   */
  readonly find = async (id: string): Promise<ProducerKeyRecord | undefined> => {
    return readRecord(await this.readFields(id));
  };

  /** As stored; empty if there is no such key. */
  protected readFields(id: string): Promise<Record<string, string>> {
    return awaitAnswer(this.#redis.hgetall(authKeys.producerKey(id)));
  }

  /**
   * In the order of their ids, including revoked keys.
   * @param after the id after which to continue; undefined for the start
   * @param limit at least 1
   */
  async list(after: string | undefined, limit: number): Promise<ProducerKeyPage> {
    const from = after === undefined ? "-" : `(${after}`;
    const ids = await awaitAnswer(
      this.#redis.zrangebylex(authKeys.producerKeyIds, from, "+", "LIMIT", 0, limit + 1),
    );
    const page = ids.slice(0, limit);
    const pipeline = this.#redis.pipeline();
    for (const id of page) pipeline.hgetall(authKeys.producerKey(id));
    const items: ProducerKeyRecord[] = [];
    for (const [error, hash] of (await awaitAnswer(pipeline.exec())) ?? []) {
      if (error !== null) throw error;
      const record = readRecord(hash as Record<string, string>);
      if (record !== undefined) items.push(record);
    }
    return { items, nextAfter: ids.length > limit ? page.at(-1) : undefined };
  }
}

/** For auth, which manages the keys. Also works if Redis is out of memory. */
export class ProducerKeysStore extends ProducerKeysReader {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    super(scripts.redis);
    this.#scripts = scripts;
  }

  /**
   * May be repeated unchanged if its answer was lost.
   * @param key with an id that is not in use
   */
  async create(key: NewProducerKey, createdAt: Date): Promise<ProducerKeyRecord> {
    const record: ProducerKeyRecord = { ...key, createdAt: createdAt.toISOString() };
    await this.#write(key.id, {
      ...describe(key),
      ...describeSecret(key),
      createdAt: record.createdAt,
    });
    return record;
  }

  /**
   * Takes over an entry of a key file: creates a missing key; renames and re-scopes an existing one. The file's secret
   * counts only if it differs from the one that the file had last time.
   */
  async upsertFromFile(key: NewProducerKey, now: Date): Promise<FileKeyResult> {
    const existing = await this.readFields(key.id);
    const fileIsNew = existing["fileSecretSha256"] !== key.secretSha256;
    // The present secret is the file's, so seal it anew with the present encryption key.
    const secretIsOfFile = fileIsNew || existing["secretSha256"] === key.secretSha256;
    await this.#write(key.id, {
      ...describe(key),
      ...(secretIsOfFile ? describeSecret(key) : {}),
      ...(fileIsNew ? { fileSecretSha256: key.secretSha256, former: undefined } : {}),
      ...(existing["createdAt"] === undefined ? { createdAt: now.toISOString() } : {}),
    });
    const record = await this.find(key.id);
    if (record === undefined) throw new Error(`the producer key ${key.id} cannot be read back`);
    return { record, change: changeOf(readRecord(existing), record) };
  }

  /**
   * Idempotent, except for the time of a suspension.
   * @param id of an existing key
   */
  async update(
    id: string,
    change: { readonly suspended?: boolean; readonly messagesPerSecond?: number | "unlimited" | null },
    now: Date,
  ): Promise<void> {
    const { suspended, messagesPerSecond } = change;
    await this.#write(id, {
      ...(suspended === undefined ? {} : { suspendedAt: suspended ? now.toISOString() : undefined }),
      ...(messagesPerSecond === undefined
        ? {}
        : { messagesPerSecond: messagesPerSecond === null ? undefined : storedLimit(messagesPerSecond) }),
    });
  }

  /**
   * Final: no later write removes `revokedAt`.
   * @returns whether the key exists
   */
  async revoke(id: string, now: Date): Promise<boolean> {
    const args = ["revoke", 0, "revokedAt", now.toISOString()];
    return (await this.#run(id, args)) === "written";
  }

  /**
   * Replaces a key's sealed secrets, including former ones, unless somebody else has replaced them meanwhile.
   * @param sealAgain returns undefined for a secret that stays as it is
   * @returns how many fields of the key were replaced
   */
  async reseal(id: string, sealAgain: (secret: SealedSecret) => string | undefined): Promise<number> {
    const { secretSha256, sealedSecret, former } = await this.readFields(id);
    const changes: string[][] = [];
    const sealed =
      secretSha256 === undefined || sealedSecret === undefined
        ? undefined
        : sealAgain({ secretSha256, sealedSecret });
    if (sealedSecret !== undefined && sealed !== undefined) {
      changes.push(["sealedSecret", sealedSecret, sealed]);
    }
    if (former !== undefined) {
      const next = former
        .split("\n")
        .map((line) => {
          const [sha256 = "", until = "", old = ""] = line.split("\t");
          const again = old === "" ? undefined : sealAgain({ secretSha256: sha256, sealedSecret: old });
          return again === undefined ? line : [sha256, until, again].join("\t");
        })
        .join("\n");
      if (next !== former) changes.push(["former", former, next]);
    }
    if (changes.length === 0) return 0;
    const args = [changes.length, ...changes.flat()];
    const keys = [authKeys.producerKey(id)];
    return Number(await awaitAnswer(this.#scripts.run("reseal-producer-key.v1", keys, args)));
  }

  /** @param fields those without a value are removed */
  async #write(id: string, fields: Readonly<Record<string, string | undefined>>): Promise<void> {
    const entries = Object.entries(fields);
    const values = entries.filter((entry): entry is [string, string] => entry[1] !== undefined);
    const removed = entries.filter(([, value]) => value === undefined).map(([name]) => name);
    await this.#run(id, ["set", removed.length, ...removed, ...values.flat()]);
  }

  #run(id: string, args: readonly (string | number)[]): Promise<string> {
    const keys = [authKeys.producerKey(id), authKeys.producerKeyIds];
    return awaitAnswer(this.#scripts.run("write-producer-key.v1", keys, [id, ...args]));
  }
}

function describe(key: NewProducerKey): Record<string, string | undefined> {
  const { id, owner, name, scopes, require, messagesPerSecond } = key;
  return {
    id,
    owner,
    name,
    scopes: scopes.join(" "),
    require,
    messagesPerSecond: messagesPerSecond === undefined ? undefined : storedLimit(messagesPerSecond),
  };
}

function describeSecret({ secretSha256, sealedSecret }: NewProducerKey): Record<string, string | undefined> {
  return { secretSha256, sealedSecret };
}

function changeOf(before: ProducerKeyRecord | undefined, after: ProducerKeyRecord): FileKeyResult["change"] {
  if (before === undefined) return "created";
  // Each sealing gives a different text.
  const shown = ({ sealedSecret, ...rest }: ProducerKeyRecord): string =>
    JSON.stringify({ ...rest, signs: sealedSecret !== undefined });
  return shown(before) === shown(after) ? "none" : "changed";
}

function readRecord(hash: Readonly<Record<string, string>>): ProducerKeyRecord | undefined {
  const { id, owner, name, scopes, secretSha256, createdAt, rotatedAt, revokedAt, suspendedAt } = hash;
  const { sealedSecret, require, messagesPerSecond, former } = hash;
  if (id === undefined || owner === undefined || secretSha256 === undefined) return undefined;
  return {
    id,
    owner,
    name: name ?? id,
    // Drop scopes of a newer release: nothing here asks for them.
    scopes: (scopes ?? "").split(" ").filter(isProducerScope),
    secretSha256,
    createdAt: createdAt ?? new Date(0).toISOString(),
    ...(sealedSecret === undefined ? {} : { sealedSecret }),
    // Whatever a newer release may require, it is at least a signature.
    ...(require === undefined ? {} : { require: "signature" }),
    ...(messagesPerSecond === undefined ? {} : { messagesPerSecond: readLimit(messagesPerSecond) }),
    ...(rotatedAt === undefined ? {} : { rotatedAt }),
    ...(revokedAt === undefined ? {} : { revokedAt }),
    ...(suspendedAt === undefined ? {} : { suspendedAt }),
    ...(former === undefined ? {} : { former: readFormer(former) }),
  };
}

/**
 * In stored keys 0 has always meant no limit. A key that may send nothing has -1, which an older release reads as no
 * limit.
 */
const STORED_UNLIMITED = 0;
const STORED_NOTHING = -1;

function storedLimit(limit: number | "unlimited"): string {
  if (limit === "unlimited") return String(STORED_UNLIMITED);
  return String(limit === 0 ? STORED_NOTHING : limit);
}

function readLimit(text: string): number | "unlimited" {
  const stored = Number(text);
  if (stored === STORED_UNLIMITED) return "unlimited";
  return Math.max(0, stored);
}

function readFormer(lines: string): FormerSecret[] {
  return lines.split("\n").map((line) => {
    const [secretSha256 = "", untilMs = "0", sealedSecret = ""] = line.split("\t");
    return {
      secretSha256,
      untilMs: Number(untilMs),
      ...(sealedSecret === "" ? {} : { sealedSecret }),
    };
  });
}
