// petrel -> here: the options and their defaults.
// Guarantees: an invalid option is refused at once, by name; the key's secret is in no message.
import type { Fetch, ServiceName } from "./requests/send-request.js";

export interface PetrelOptions {
  /** The URL of collect: `https://collect.example.test`. For sending and most queries. */
  readonly collect?: string | undefined;
  /** The URL of auth: tokens and devices. */
  readonly auth?: string | undefined;
  /** The URL of dispatch: only `request` uses it. */
  readonly dispatch?: string | undefined;
  /** `KEY.SECRET` of a producer. */
  readonly key: string;
  /** Signs each request instead of sending the secret. */
  readonly sign?: boolean | undefined;
  /** How long a call may take, with all its attempts, waiting included (30,000). */
  readonly timeoutMs?: number | undefined;
  /** The same for each attempt (10,000). */
  readonly attemptTimeoutMs?: number | undefined;
  /** The most attempts; by default, as many as there is time for. */
  readonly attempts?: number | undefined;
  /** How long a message lingers for others while a request is in progress: 0 to 2 (2). */
  readonly lingerMs?: number | undefined;
  /** Concurrent requests with messages (4). */
  readonly maxRequests?: number | undefined;
  /** The most recipients of unsettled messages (100,000). */
  readonly maxQueued?: number | undefined;
  /** The most JSON of unsettled messages (64 MiB). */
  readonly maxQueuedBytes?: number | undefined;
  /** Larger batches are compressed if that pays off (64 KiB); Infinity for never. */
  readonly gzipAboveBytes?: number | undefined;
  /** Replaces the global one: for a proxy, or your own certificate authority. */
  readonly fetch?: Fetch | undefined;
}

const numbers = {
  timeoutMs: { default: 30_000, min: 1, max: 3_600_000 },
  attemptTimeoutMs: { default: 10_000, min: 1, max: 3_600_000 },
  attempts: { default: Number.POSITIVE_INFINITY, min: 1, max: Number.POSITIVE_INFINITY },
  lingerMs: { default: 2, min: 0, max: 2 },
  maxRequests: { default: 4, min: 1, max: 64 },
  maxQueued: { default: 100_000, min: 1, max: 10_000_000 },
  maxQueuedBytes: { default: 64 * 1024 * 1024, min: 1, max: 4 * 1024 ** 3 },
  gzipAboveBytes: { default: 64 * 1024, min: 0, max: Number.POSITIVE_INFINITY },
} as const;

export type ResolvedOptions = { readonly [Name in keyof typeof numbers]: number } & {
  readonly urls: Readonly<Partial<Record<ServiceName, string>>>;
  readonly key: string;
  readonly sign: boolean;
  readonly fetch: Fetch;
};

const services: readonly ServiceName[] = ["auth", "collect", "dispatch"];
const others: readonly string[] = ["key", "sign", "fetch"];

/** @throws TypeError */
export function resolveOptions(options: PetrelOptions): ResolvedOptions {
  const known = [...services, ...others, ...Object.keys(numbers)];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new TypeError(`new Petrel: there is no option ${unknown}`);
  const { key, sign = false, fetch = globalThis.fetch } = options;
  if (typeof key !== "string" || !/^[^\s.]+\.\S+$/.test(key)) {
    throw new TypeError("new Petrel: key must have the form KEY.SECRET");
  }
  if (typeof sign !== "boolean") throw new TypeError("new Petrel: sign must be true or false");
  if (typeof fetch !== "function") throw new TypeError("new Petrel: fetch must be a function");
  const urls = Object.fromEntries(
    services.flatMap((name) => {
      const url = options[name];
      return url === undefined ? [] : [[name, checkUrl(name, url)]];
    }),
  );
  const read = (name: keyof typeof numbers): number => readNumber(name, options[name]);
  return {
    urls,
    key,
    sign,
    // Not called as a method, because the global one checks its `this`.
    fetch: (url, init) => fetch(url, init),
    timeoutMs: read("timeoutMs"),
    attemptTimeoutMs: read("attemptTimeoutMs"),
    attempts: read("attempts"),
    lingerMs: read("lingerMs"),
    maxRequests: read("maxRequests"),
    maxQueued: read("maxQueued"),
    maxQueuedBytes: read("maxQueuedBytes"),
    gzipAboveBytes: read("gzipAboveBytes"),
  };
}

function checkUrl(name: string, url: unknown): string {
  try {
    const { protocol, search, hash, username } = new URL(url as string);
    const isHttp = protocol === "http:" || protocol === "https:";
    if (typeof url === "string" && isHttp && search === "" && hash === "" && username === "") return url;
  } catch {
    // Said below. (Not `URL.canParse`: that of Node 20 misreads international names.)
  }
  throw new TypeError(`new Petrel: ${name} must be an http:// or https:// URL without query or user`);
}

function readNumber(name: keyof typeof numbers, given: unknown): number {
  const { default: usual, min, max } = numbers[name];
  if (given === undefined) return usual;
  if (typeof given === "number" && given >= min && given <= max) return given;
  throw new TypeError(`new Petrel: ${name} must be a number from ${min} to ${max}`);
}
