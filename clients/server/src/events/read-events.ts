// petrel -> here -> collect: events, in order for each user, from a cursor on.
// Guarantees: none is skipped without a `gap`. `position` lies after the last page that was handled completely;
// continuing there after a crash may repeat events, but never misses one.
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
  /** The same in every repetition. */
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

/** Events are missing here: they are older than the server keeps, or Redis lost them. */
export interface EventGap {
  readonly type: "gap";
}

export interface EventsOptions {
  /** An earlier `position`; "now" for new events only; by default, everything that is kept. */
  readonly after?: string | undefined;
  readonly types?: readonly EventType[] | undefined;
  /** Per page: 1 to 1,000. */
  readonly limit?: number | undefined;
  /** For a long poll: up to 30 (30). */
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

  /** Store it, and pass it as `after` the next time. */
  get position(): string | undefined {
    return this.#position;
  }

  /** @throws PetrelError for what waiting cannot fix, such as a key without the scope `read` */
  async *[Symbol.asyncIterator](): AsyncGenerator<PetrelEvent | EventGap, void> {
    const { signal } = this.#options;
    while (signal?.aborted !== true) {
      const page = await this.#nextPage();
      if (page === undefined) return;
      if (page.gap) yield { type: "gap" };
      yield* page.items;
      // Only now, so that a loop that ends within a page gets it again.
      this.#position = page.nextAfter;
    }
  }

  /** @returns undefined if it was aborted */
  async #nextPage(): Promise<Page | undefined> {
    const { types, limit, signal } = this.#options;
    // "now" means the moment of the first answer, so do not risk losing it with a poll that waits.
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
