// petrel -> here -> collect: events, in order for each user, from a cursor on.
// Guarantees: none is skipped without a `gap`; `position` is where to carry on, behind the last page that was handled
// whole, so what follows a crash may repeat and never misses.
import { setTimeout as pause } from "node:timers/promises";
import { PetrelError } from "../petrel-error.js";
import { retryDelayMs } from "../requests/retry-delay.js";
import { mayRepeat } from "../requests/send-request.js";
import { type ServiceCaller, withQuery } from "../requests/service-caller.js";

export type EventType =
  | "message.delivered"
  | "message.pushed"
  | "message.failed"
  | "message.expired"
  | "message.cancelled"
  | "user.online"
  | "user.offline"
  | "device.invalidated"
  | "topic.occupied"
  | "topic.vacated";

export interface PetrelEvent {
  /** The same in every repeat. */
  readonly id: string;
  readonly type: EventType;
  readonly at: string;
  readonly user?: string;
  readonly topic?: string;
  /** A message's id. */
  readonly message?: string;
  readonly traceId?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Older events than the server keeps, or of a Redis that was lost, are missing here. */
export interface EventGap {
  readonly type: "gap";
}

export interface EventsOptions {
  /** A `position` of before; "now" for what is new only; what is kept by default. */
  readonly after?: string | undefined;
  readonly types?: readonly EventType[] | undefined;
  /** Of a page: 1 to 1,000. */
  readonly limit?: number | undefined;
  /** Of a long poll: up to 30 (30). */
  readonly waitSeconds?: number | undefined;
  /** Ends the iteration. */
  readonly signal?: AbortSignal | undefined;
}

interface Page {
  readonly items: readonly PetrelEvent[];
  readonly nextAfter: string;
  readonly gap: boolean;
}

export class PetrelEvents implements AsyncIterable<PetrelEvent | EventGap> {
  readonly #caller: ServiceCaller;
  readonly #options: EventsOptions;
  #position: string | undefined;

  constructor(caller: ServiceCaller, options: EventsOptions) {
    this.#caller = caller;
    this.#options = options;
    this.#position = options.after;
  }

  /** Store it, and give it as `after` the next time. */
  get position(): string | undefined {
    return this.#position;
  }

  /** @throws PetrelError what no waiting cures, such as a key without the scope `read` */
  async *[Symbol.asyncIterator](): AsyncGenerator<PetrelEvent | EventGap, void> {
    const { signal } = this.#options;
    while (signal?.aborted !== true) {
      const page = await this.#nextPage();
      if (page === undefined) return;
      if (page.gap) yield { type: "gap" };
      yield* page.items;
      // Only now: whoever stops within a page gets it again.
      this.#position = page.nextAfter;
    }
  }

  /** @returns undefined where it was aborted */
  async #nextPage(): Promise<Page | undefined> {
    const { types, limit, signal } = this.#options;
    // "now" is the moment of the first answer: it must not be lost with a poll that waits.
    const waitSeconds = this.#position === "now" ? 0 : (this.#options.waitSeconds ?? 30);
    for (let attempt = 0; ; attempt++) {
      try {
        const query = { after: this.#position, types: types?.join(","), limit, waitSeconds };
        const options = { signal, timeoutMs: Number.MAX_SAFE_INTEGER };
        const page = await this.#caller.call("collect", "GET", withQuery("/v1/events", query), options);
        return page as unknown as Page;
      } catch (error) {
        if (signal?.aborted === true) return undefined;
        if (!(error instanceof PetrelError) || !mayRepeat(error)) throw error;
        await pause(retryDelayMs(attempt, error.retryAfterMs), undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
