// Remembers answers for a short time, in bounded memory.
// Guarantees: never more than `maxEntries`, the least recently used goes first; nothing older than `ttlMs` is returned.

export interface ExpiringCacheOptions {
  readonly maxEntries: number;
  readonly ttlMs: number;
}

interface Entry<V> {
  readonly value: V;
  readonly expiresAtMs: number;
}

export class ExpiringCache<V> {
  readonly #options: ExpiringCacheOptions;
  // A Map keeps insertion order, so its first key is the least recently used one.
  readonly #entries = new Map<string, Entry<V>>();

  constructor(options: ExpiringCacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @param nowMs monotonic milliseconds, as in `set` */
  get(key: string, nowMs: number): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.expiresAtMs <= nowMs) return undefined;
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V, nowMs: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, expiresAtMs: nowMs + this.#options.ttlMs });
    if (this.#entries.size <= this.#options.maxEntries) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
