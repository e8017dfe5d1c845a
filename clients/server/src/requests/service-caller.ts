// resources -> here -> repeat-request: one call of the API, and lists page by page.
// Guarantees: names are percent-encoded; every call ends when `close` is called.
import { repeatRequest, type Patience } from "./repeat-request.js";
import type { Json } from "./read-answer.js";
import type { Method, Requester, ServiceName } from "./send-request.js";

export interface CallOptions {
  /** Any JSON. */
  readonly body?: unknown;
  /** Instead of `body`: JSON text that is sent unchanged. */
  readonly json?: string | undefined;
  readonly userToken?: string | undefined;
  /** For all attempts together; defaults to the option of the same name. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type Query = Readonly<Record<string, string | number | undefined>>;

export class ServiceCaller {
  readonly #requester: Requester;
  readonly #patience: Patience;
  readonly #ended = new AbortController();

  constructor(requester: Requester, patience: Patience) {
    this.#requester = requester;
    this.#patience = patience;
  }

  /** @throws PetrelError */
  call(service: ServiceName, method: Method, path: string, options: CallOptions = {}): Promise<Json> {
    const { body, json, userToken, timeoutMs = this.#patience.timeoutMs, signal } = options;
    const request = {
      service,
      method,
      path,
      userToken,
      body: json ?? (body === undefined ? undefined : JSON.stringify(body)),
    };
    const attemptTimeoutMs = Math.max(this.#patience.attemptTimeoutMs, longPollMs(path));
    const patience = { ...this.#patience, attemptTimeoutMs, timeoutMs };
    const ended = this.#ended.signal;
    return repeatRequest(
      this.#requester,
      request,
      patience,
      signal === undefined ? ended : AbortSignal.any([ended, signal]),
    );
  }

  /** All items of a list that is paged by a cursor. */
  async *items<Item>(service: ServiceName, path: string, query: Query = {}): AsyncGenerator<Item, void> {
    let cursor: unknown;
    do {
      const page = await this.call(
        service,
        "GET",
        withQuery(path, { ...query, cursor: cursor as string | undefined }),
      );
      // A page may be short, even empty, although more follow.
      yield* (page["items"] ?? []) as readonly Item[];
      cursor = page["nextCursor"];
    } while (typeof cursor === "string");
  }

  close(): void {
    this.#ended.abort();
  }
}

/** Encodes the interpolated values: path`/v1/users/${user}`. */
export function path(parts: TemplateStringsArray, ...names: readonly string[]): string {
  return parts.reduce((text, part, i) => `${text}${encodeURIComponent(names[i - 1] ?? "")}${part}`);
}

export function withQuery(to: string, query: Query): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) pairs.set(name, String(value));
  return pairs.size === 0 ? to : `${to}?${pairs.toString()}`;
}

/** How long the answer to a long poll may be delayed on purpose. */
function longPollMs(to: string): number {
  const seconds = /[?&]waitSeconds=(\d+)/.exec(to)?.[1];
  return seconds === undefined ? 0 : Number(seconds) * 1_000 + 10_000;
}
