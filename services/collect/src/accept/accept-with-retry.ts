// prepare-messages -> here -> store-message: stores checked messages, each for one user or topic and with its id.
// Guarantees: "accepted" means stored. A message without an answer is sent again, with the same id and in the same
// order, until the deadline. Never rejects: by the deadline each message has its outcome.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { pause } from "@petrel/shared/kernel/pause";
import type { Clock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { PendingRequest } from "@petrel/shared/redis/accept/turn-batches";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { Acceptance } from "./acceptance.js";
import type { AcceptanceCounts } from "./acceptance-counts.js";
import { identityOf, type MessageToStore, type StoreMessage, type StoreResult } from "./store-message.js";

/** No answer came; sending the same message again is safe. */
interface Missing {
  readonly outcome: "missing";
  readonly cause: unknown;
}

export interface AcceptWithRetryOptions {
  readonly store: StoreMessage;
  /** The longest that a store call takes to answer or fail; no retry starts that could outlast the deadline. */
  readonly attemptMs: number;
  readonly clock: Clock;
  readonly counts: AcceptanceCounts;
  /** UTF-16 code units of data that may be in progress; beyond it messages are refused at once. */
  readonly maxUnderWay?: number;
}

const DEFAULT_MAX_UNDER_WAY = 128 * 1024 * 1024;
const RETRY_BASE_MS = 50;
const RETRY_CAP_MS = 500;
const RETRY_LEAST_MS = 10;

const unanswered: Missing = Object.freeze({
  outcome: "missing",
  cause: new Error("no answer by the deadline"),
});
const stored: Acceptance = Object.freeze({ outcome: "accepted", duplicate: false });
const duplicate: Acceptance = Object.freeze({ outcome: "accepted", duplicate: true });
const mismatch: Acceptance = Object.freeze({ outcome: "mismatch" });
const inboxFull: Acceptance = Object.freeze({ outcome: "inbox-full" });
const schedulesFull: Acceptance = Object.freeze({ outcome: "schedules-full" });

export class AcceptWithRetry {
  readonly #options: AcceptWithRetryOptions;
  readonly #maxUnderWay: number;
  #underWay = 0;

  constructor(options: AcceptWithRetryOptions) {
    this.#options = options;
    this.#maxUnderWay = options.maxUnderWay ?? DEFAULT_MAX_UNDER_WAY;
  }

  /**
   * @param messages those for the same user or topic are stored in this order
   * @param giveUpAtMs monotonic; the call has returned by then
   * @returns one outcome for each, in order
   */
  async accept(messages: readonly MessageToStore[], giveUpAtMs: number): Promise<readonly Acceptance[]> {
    let size = 0;
    for (const { data } of messages) size += data.length;
    if (this.#underWay + size > this.#maxUnderWay) return this.#counted(messages, messages.map(refuse));
    this.#underWay += size;
    const deadline = new Deadline(giveUpAtMs - this.#options.clock.monotonicMs());
    try {
      const results = await this.#tryAll(messages, deadline);
      const isMissing = results.some(({ outcome }) => outcome === "missing");
      const outcomes = isMissing ? await this.#tryAgain(messages, results, giveUpAtMs, deadline) : results;
      return this.#counted(messages, outcomes as Acceptance[]);
    } finally {
      deadline.cancel();
      this.#underWay -= size;
    }
  }

  /**
   * All at once, in order; the store batches them. What has no answer by the deadline is missing. A single promise for
   * all, because one per message would be measurable.
   */
  #tryAll(
    messages: readonly MessageToStore[],
    deadline: Deadline,
  ): Promise<readonly (Acceptance | Missing)[]> {
    const { store } = this.#options;
    return new Promise((resolve) => {
      const results: (Acceptance | Missing)[] = messages.map(() => unanswered);
      let open = messages.length;
      // A copy, so that late answers change nothing.
      const end = (): void => resolve([...results]);
      const settle = (i: number, result: Acceptance | Missing): void => {
        results[i] = result;
        if (--open === 0) end();
      };
      if (deadline.isOver || open === 0) end();
      deadline.onPassed = end;
      for (const [i, message] of messages.entries()) {
        store(message, deadline).then(
          (result) => settle(i, decide(message, result)),
          (error: unknown) => settle(i, classifyFailure(error)),
        );
      }
    });
  }

  /** Together, after one wait: retried one by one they would lose their order. */
  async #tryAgain(
    messages: readonly MessageToStore[],
    first: readonly (Acceptance | Missing)[],
    giveUpAtMs: number,
    deadline: Deadline,
  ): Promise<Acceptance[]> {
    const { attemptMs, clock } = this.#options;
    const results = [...first];
    for (let attempt = 0; ; attempt++) {
      const missing = [...results.keys()].filter((i) => results[i]?.outcome === "missing");
      const waitMs = RETRY_LEAST_MS + backoffMs(attempt, { baseMs: RETRY_BASE_MS, capMs: RETRY_CAP_MS });
      if (missing.length === 0 || clock.monotonicMs() + waitMs + attemptMs > giveUpAtMs) break;
      await pause(waitMs);
      const again = await this.#tryAll(
        missing.flatMap((i) => messages[i] ?? []),
        deadline,
      );
      for (const result of again) results[missing.shift() ?? 0] = result;
    }
    return results.map((result) => (result.outcome === "missing" ? giveUp(result) : result));
  }

  #counted(messages: readonly MessageToStore[], outcomes: readonly Acceptance[]): readonly Acceptance[] {
    for (const [i, outcome] of outcomes.entries()) this.#options.counts.count(outcome, messages[i]);
    return outcomes;
  }
}

/** One request's deadline; once it has passed, the store drops what is still waiting. */
class Deadline implements PendingRequest {
  /** Called once, when it has passed. */
  onPassed: () => void = () => undefined;
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  constructor(inMs: number) {
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.onPassed();
    }, inMs);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}

function decide(message: MessageToStore, result: StoreResult): Acceptance {
  switch (result.outcome) {
    case "stored":
      return stored;
    case "inbox-full":
      return inboxFull;
    case "schedules-full":
      return schedulesFull;
    case "limited":
      return result;
    case "exists": {
      const { fingerprint, attempt } = identityOf(message);
      if (result.record.fingerprint !== fingerprint) return mismatch;
      // Our own attempt: the call whose answer we missed has stored it.
      return result.record.attempt === attempt ? stored : duplicate;
    }
  }
}

function classifyFailure(error: unknown): Acceptance | Missing {
  if (error instanceof PetrelError) return { outcome: "unavailable", error };
  if (isOutOfMemory(error))
    return { outcome: "unavailable", error: unavailable("Redis is out of memory.", error, 5) };
  if (isConnectionError(error)) return { outcome: "missing", cause: error };
  return {
    outcome: "unavailable",
    error: new PetrelError("PETREL_INTERNAL", "The message could not be stored.", { cause: error }),
  };
}

/** A short wait does not help. */
function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("OOM ");
}

function giveUp({ cause }: Missing): Acceptance {
  return { outcome: "unavailable", error: unavailable("The store does not answer.", cause) };
}

function refuse(): Acceptance {
  return { outcome: "unavailable", error: unavailable("Too many messages are in progress.") };
}

function unavailable(message: string, cause?: unknown, retryAfterSeconds = 1): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", message, { cause, retryAfterSeconds });
}
