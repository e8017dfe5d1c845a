// authenticate-producer, authenticate-signature -> here -> producer-keys-store: the records of keys, refreshed
// regularly.
// Guarantees: while the store answers, a record is trusted for `ttlMs` and no longer, and unknown keys cost no more
// than known ones. While it does not, the last valid record serves for `staleMs`, no request waits for the store more
// than once, and the store's answers count again within a second of its return.
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs } from "../../kernel/backoff.js";
import type { Clock } from "../../kernel/clock.js";
import { PetrelError } from "../../kernel/errors.js";
import { RecentMap } from "../../kernel/recent-map.js";
import { ExpiringCache } from "../expiring-cache.js";

export interface ProducerKeyCacheOptions<K> {
  /** @returns undefined if the key is unknown or revoked; rejects if the store does not answer */
  readonly read: (keyId: string) => Promise<K | undefined>;
  /** How long a record is trusted. */
  readonly ttlMs: number;
  /** How old a record may be if no newer one can be had. */
  readonly staleMs: number;
  /** How long to retry the look-up of a key that is not remembered, if the store does not answer. */
  readonly lookUpDeadlineMs: number;
  /** How long the first request waits for the store before an older record serves. */
  readonly patienceMs: number;
  /** Records kept, and as many unknown key ids. */
  readonly maxEntries: number;
  readonly clock: Clock;
}

interface Entry<K> {
  key: K;
  /** When the read that returned it began: later revocations are not in it. */
  readAtMs: number;
  /** When a read was last begun. */
  askedAtMs: number;
  /** The read that a request may wait for; undefined if none is in progress. */
  reading: Promise<Refreshed> | undefined;
  /** When the store last failed to answer in time. */
  failedAtMs: number;
}

type Refreshed = "answered" | "failed";

interface LookedUp<K> {
  readonly key: K | undefined;
  readonly beganMs: number;
}

/** From this share of its life on, a record is refreshed while it still serves: a busy key's requests never wait. */
const REFRESH_FROM = 0.75;
/** After a failure nobody waits for this long; then the store gets another chance to answer in time. */
const FAILING_MS = 750;
const ASK_AGAIN_MS = 200;
const LOOK_UP_BACKOFF = { baseMs: 50, capMs: 250 } as const;
const LOOK_UP_LEAST_MS = 10;

export class ProducerKeyCache<K> {
  readonly #options: ProducerKeyCacheOptions<K>;
  readonly #entries: ExpiringCache<Entry<K>>;
  // Separate from known keys, so that a stream of invented ids evicts no real key.
  readonly #unknown: ExpiringCache<true>;
  readonly #seen: RecentMap<true>;
  readonly #lookUps = new Map<string, Promise<LookedUp<K>>>();
  #forgotten = 0;

  constructor(options: ProducerKeyCacheOptions<K>) {
    this.#options = options;
    const { maxEntries, ttlMs, staleMs } = options;
    this.#entries = new ExpiringCache({ maxEntries, ttlMs: staleMs });
    this.#unknown = new ExpiringCache({ maxEntries, ttlMs });
    this.#seen = new RecentMap(maxEntries);
  }

  /** Changes whenever a key is forgotten or found revoked: remembered answers must then be checked again. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Whether this process has found this key before. */
  hasSeen(keyId: string): boolean {
    return this.#seen.get(keyId) === true;
  }

  /** Drops what is remembered of a key, so that a change made by this process applies here at once. */
  forget(keyId: string): void {
    this.#forgotten++;
    this.#entries.delete(keyId);
    this.#unknown.delete(keyId);
    this.#lookUps.delete(keyId);
  }

  /**
   * @returns undefined if the key is unknown or revoked
   * @throws PetrelError PETREL_UNAVAILABLE if nothing is remembered of it and the store does not answer
   */
  find(keyId: string): K | undefined | Promise<K | undefined> {
    const { clock, ttlMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const entry = this.#entries.get(keyId, nowMs);
    if (entry === undefined) return this.#lookUp(keyId, nowMs);
    const ageMs = nowMs - entry.readAtMs;
    if (ageMs < ttlMs * REFRESH_FROM) return entry.key;
    if (ageMs < ttlMs) {
      void this.#refresh(keyId, entry, nowMs);
      return entry.key;
    }
    return this.#refreshOrServe(keyId, entry, nowMs);
  }

  #refreshOrServe(keyId: string, entry: Entry<K>, nowMs: number): K | Promise<K | undefined> {
    const reading = this.#refresh(keyId, entry, nowMs);
    if (reading === undefined || nowMs - entry.failedAtMs < FAILING_MS) return entry.key;
    // A revoked key is no longer remembered; without an answer, it still is.
    return reading.then(() => this.#entries.get(keyId, nowMs)?.key);
  }

  /** @returns the read under way; undefined if the last one failed a moment ago */
  #refresh(keyId: string, entry: Entry<K>, nowMs: number): Promise<Refreshed> | undefined {
    if (entry.reading !== undefined) return entry.reading;
    if (nowMs - entry.askedAtMs < ASK_AGAIN_MS && entry.failedAtMs >= entry.askedAtMs) return undefined;
    entry.askedAtMs = nowMs;
    const reading = this.#inTime(this.#readAgain(keyId, entry, nowMs)).then((result) => {
      entry.reading = undefined;
      if (result === "failed") entry.failedAtMs = this.#options.clock.monotonicMs();
      return result;
    });
    entry.reading = reading;
    return reading;
  }

  /** Never rejects. An answer too late for those who waited still counts. */
  async #readAgain(keyId: string, entry: Entry<K>, beganMs: number): Promise<Refreshed> {
    let key: K | undefined;
    try {
      key = await this.#options.read(keyId);
    } catch {
      return "failed";
    }
    // Forgotten meanwhile, or overtaken by a read that began later.
    if (this.#entries.get(keyId, beganMs) !== entry || beganMs < entry.readAtMs) return "answered";
    if (key === undefined) {
      this.forget(keyId);
      this.#unknown.set(keyId, true, beganMs);
    } else {
      entry.key = key;
      entry.readAtMs = beganMs;
      entry.failedAtMs = Number.NEGATIVE_INFINITY;
      this.#entries.set(keyId, entry, beganMs);
    }
    return "answered";
  }

  async #inTime(reading: Promise<Refreshed>): Promise<Refreshed> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Refreshed>((resolve) => {
      timer = setTimeout(() => resolve("failed"), this.#options.patienceMs);
    });
    const result = await Promise.race([reading, late]);
    clearTimeout(timer);
    return result;
  }

  async #lookUp(keyId: string, nowMs: number): Promise<K | undefined> {
    if (this.#unknown.get(keyId, nowMs) === true) return undefined;
    const shared = this.#lookUps.get(keyId);
    if (shared !== undefined) return (await shared).key;
    const lookUp = this.#readUntilAnswered(keyId, nowMs);
    this.#lookUps.set(keyId, lookUp);
    try {
      const { key, beganMs } = await lookUp;
      // If forgotten meanwhile, the record may be from before the change.
      if (this.#lookUps.get(keyId) === lookUp) this.#remember(keyId, key, beganMs);
      return key;
    } finally {
      if (this.#lookUps.get(keyId) === lookUp) this.#lookUps.delete(keyId);
    }
  }

  #remember(keyId: string, key: K | undefined, readAtMs: number): void {
    if (key === undefined) {
      this.#entries.delete(keyId);
      this.#unknown.set(keyId, true, readAtMs);
      return;
    }
    const never = Number.NEGATIVE_INFINITY;
    const entry = { key, readAtMs, askedAtMs: never, reading: undefined, failedAtMs: never };
    this.#entries.set(keyId, entry, readAtMs);
    this.#seen.set(keyId, true);
  }

  async #readUntilAnswered(keyId: string, startMs: number): Promise<LookedUp<K>> {
    const { read, clock, lookUpDeadlineMs } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const beganMs = clock.monotonicMs();
      try {
        return { key: await read(keyId), beganMs };
      } catch (error) {
        const waitMs = LOOK_UP_LEAST_MS + backoffMs(attempt, LOOK_UP_BACKOFF);
        if (clock.monotonicMs() + waitMs - startMs > lookUpDeadlineMs) {
          throw new PetrelError("PETREL_UNAVAILABLE", "The producer key cannot be checked at the moment.", {
            cause: error,
          });
        }
        await sleep(waitMs);
      }
    }
  }
}
