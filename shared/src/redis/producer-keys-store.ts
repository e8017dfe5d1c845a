// The keys of business systems: who they belong to, what they may do, and the hash of their secret.
// Guarantees: a secret is never stored; a revoked key stays revoked, whatever a key file says; one that was rotated
// is not set back by a key file that has not changed.
import { isProducerScope, type ProducerScope } from "../protocol/producer-scopes.js";
import { authKeys } from "./auth-keys.js";
import { awaitAnswer } from "./await-answer.js";
import type { Redis } from "./connect.js";

export interface ProducerKeyRecord {
  readonly id: string;
  readonly owner: string;
  readonly name: string;
  readonly scopes: readonly ProducerScope[];
  /** 64 lower-case hex characters. */
  readonly secretSha256: string;
  /** RFC 3339, UTC, as all times here. */
  readonly createdAt: string;
  readonly rotatedAt?: string;
  readonly revokedAt?: string;
}

export interface NewProducerKey {
  readonly id: string;
  readonly owner: string;
  readonly name: string;
  readonly scopes: readonly ProducerScope[];
  readonly secretSha256: string;
}

export interface ProducerKeyPage {
  readonly items: readonly ProducerKeyRecord[];
  /** The id to go on after, or undefined at the end. */
  readonly nextAfter: string | undefined;
}

export class ProducerKeysStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Bound, so that it can be handed over as `findKey`.
   * @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here
   */
  readonly find = async (id: string): Promise<ProducerKeyRecord | undefined> => {
    return readRecord(await awaitAnswer(this.#redis.hgetall(authKeys.producerKey(id))));
  };

  /** @param key with an id that is not in use */
  async create(key: NewProducerKey, createdAt: Date): Promise<ProducerKeyRecord> {
    const record: ProducerKeyRecord = { ...key, createdAt: createdAt.toISOString() };
    await this.#write(key.id, {
      ...describe(key),
      secretSha256: key.secretSha256,
      createdAt: record.createdAt,
    });
    return record;
  }

  /**
   * Takes over an entry of a key file: made where it is missing, renamed and re-scoped where it is there; its secret
   * counts only where the file brings another one than it brought the last time.
   */
  async upsertFromFile(key: NewProducerKey, now: Date): Promise<ProducerKeyRecord> {
    const existing = await awaitAnswer(this.#redis.hgetall(authKeys.producerKey(key.id)));
    const fileIsNew = existing["fileSecretSha256"] !== key.secretSha256;
    await this.#write(key.id, {
      ...describe(key),
      ...(fileIsNew ? { secretSha256: key.secretSha256, fileSecretSha256: key.secretSha256 } : {}),
      ...(existing["createdAt"] === undefined ? { createdAt: now.toISOString() } : {}),
    });
    const record = await this.find(key.id);
    if (record === undefined) throw new Error(`the producer key ${key.id} cannot be read back`);
    return record;
  }

  /**
   * @returns the record with its new hash, or undefined where there is no such key or it is revoked; a key revoked
   * in the same moment stays revoked
   */
  async rotate(id: string, secretSha256: string, now: Date): Promise<ProducerKeyRecord | undefined> {
    const record = await this.find(id);
    if (record === undefined || record.revokedAt !== undefined) return undefined;
    const rotatedAt = now.toISOString();
    await awaitAnswer(this.#redis.hset(authKeys.producerKey(id), { secretSha256, rotatedAt }));
    return { ...record, secretSha256, rotatedAt };
  }

  /**
   * Final: no later write removes `revokedAt`.
   * @returns whether there is such a key
   */
  async revoke(id: string, now: Date): Promise<boolean> {
    const record = await this.find(id);
    if (record === undefined) return false;
    await awaitAnswer(this.#redis.hsetnx(authKeys.producerKey(id), "revokedAt", now.toISOString()));
    return true;
  }

  /**
   * In the order of their ids, revoked ones too.
   * @param after an id to go on after, or undefined for the start
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

  async #write(id: string, fields: Readonly<Record<string, string>>): Promise<void> {
    const results = await awaitAnswer(
      this.#redis.multi().hset(authKeys.producerKey(id), fields).zadd(authKeys.producerKeyIds, 0, id).exec(),
    );
    for (const [error] of results ?? []) if (error !== null) throw error;
  }
}

function describe(key: NewProducerKey): Record<string, string> {
  return { id: key.id, owner: key.owner, name: key.name, scopes: key.scopes.join(" ") };
}

function readRecord(hash: Readonly<Record<string, string>>): ProducerKeyRecord | undefined {
  const { id, owner, name, scopes, secretSha256, createdAt, rotatedAt, revokedAt } = hash;
  if (id === undefined || owner === undefined || secretSha256 === undefined) return undefined;
  return {
    id,
    owner,
    name: name ?? id,
    // A scope of a newer release is not known here, so nothing here asks for it.
    scopes: (scopes ?? "").split(" ").filter(isProducerScope),
    secretSha256,
    createdAt: createdAt ?? new Date(0).toISOString(),
    ...(rotatedAt === undefined ? {} : { rotatedAt }),
    ...(revokedAt === undefined ? {} : { revokedAt }),
  };
}
