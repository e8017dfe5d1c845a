// sliding-window-limiter, reported-window-limiter -> here -> limits/take-from-window.lua: the calls of both.
// Guarantees: what is asked in one turn leaves in one write; an answer is there by the deadline, or none; where there was
// none, nobody waits for one for a while.
import type { Clock } from "../../kernel/clock.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { TurnBatcher } from "../../kernel/turn-batcher.js";
import { subWindowMs, type WindowShare } from "../../kernel/limits/window-ring.js";
import { clusterKeys } from "../keys.js";
import type { LimitCountsOf } from "./limit-counts.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** What is asked about one key. */
export interface WindowQuestion {
  readonly key: string;
  readonly limit: number;
  /** Taken already: counted, whatever the limit. */
  readonly reported: number;
  /** To take for later, as far as it goes. */
  readonly extra: number;
  /** Each taken whole or not at all. */
  readonly takes: readonly number[];
}

export interface WindowAnswer {
  /** "+" for each take that was granted, "-" for the others. */
  readonly answers: string;
  readonly extra: number;
  /** In all of the window, with what was just granted. */
  readonly used: number;
  /** What is used, oldest first, by this process' clock. */
  readonly shares: readonly WindowShare[];
}

/** Called when what was asked in a turn is on its way: what it asks is what stands then. */
type Ask = () => WindowQuestion;

interface Waiting {
  readonly ask: Ask;
  /** @param answer undefined where Redis did not answer */
  readonly answered: (answer: WindowAnswer | undefined) => void;
}

export interface WindowAskerOptions {
  readonly scripts: Pick<ScriptRunner, "run" | "together">;
  readonly name: string;
  readonly windowMs: number;
  /** Sub-windows that a take counts for beyond the window. */
  readonly longer: number;
  readonly deadlineMs: number;
  readonly counts: LimitCountsOf;
  readonly logger: Pick<Logger, "warn" | "info"> | undefined;
  readonly clock: Clock;
}

/** How long nobody asks after an answer has not come. */
const SILENCE_MS = 1_000;
const MAX_IN_FLIGHT = 4;
/** A call with more would keep others waiting for Redis. */
export const MAX_TAKES = 500;
const MAX_KEYS_PER_FLUSH = 500;

export class WindowAsker {
  readonly #options: WindowAskerOptions;
  readonly #batcher: TurnBatcher<Waiting>;
  readonly #subMs: number;
  readonly #held: number;
  #silentUntilMs = Number.NEGATIVE_INFINITY;
  #isSilent = false;

  constructor(options: WindowAskerOptions) {
    this.#options = options;
    this.#subMs = subWindowMs(options.windowMs);
    this.#held = Math.ceil(options.windowMs / this.#subMs) + options.longer;
    this.#batcher = new TurnBatcher<Waiting>({
      maxInFlight: MAX_IN_FLIGHT,
      maxItems: MAX_KEYS_PER_FLUSH,
      flush: (waiting) => this.#flush(waiting),
    });
  }

  /** Whether Redis has just not answered: then this process decides by itself. */
  isSilent(nowMs: number): boolean {
    return this.#isSilent && nowMs < this.#silentUntilMs;
  }

  ask(ask: Ask, answered: Waiting["answered"]): void {
    this.#batcher.add({ ask, answered });
  }

  async #flush(waiting: readonly Waiting[]): Promise<void> {
    const { scripts, deadlineMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        this.#noteSilence("no answer in time");
        resolve(undefined);
      }, deadlineMs);
    });
    try {
      await Promise.all(
        scripts.together(() =>
          waiting.map(async ({ ask, answered }) => {
            const answer = await Promise.race([this.#call(ask()), late]);
            if (answer !== undefined) this.#noteAnswer();
            answered(answer);
          }),
        ),
      );
    } finally {
      clearTimeout(timer);
    }
  }

  async #call({ key, limit, reported, extra, takes }: WindowQuestion): Promise<WindowAnswer | undefined> {
    const { scripts, name, windowMs, counts } = this.#options;
    counts.asks++;
    try {
      const text = await scripts.run(
        "take-from-window.v1",
        [clusterKeys.limitWindow(name, windowMs, key)],
        [this.#subMs, this.#held, limit, reported, extra, ...takes],
      );
      return this.#read(text);
    } catch (error) {
      this.#noteSilence(describeError(error));
      return undefined;
    }
  }

  #read(text: string): WindowAnswer {
    const nowMs = this.#options.clock.monotonicMs();
    const [head = "", ring = ""] = text.split("\n");
    const [answers = "", extra, used, leftMs] = head.split(" ");
    const shares =
      ring === ""
        ? []
        : ring.split(" ").map((share) => {
            const [age, count] = share.split(":");
            return {
              leavesAtMs: nowMs + (this.#held - Number(age)) * this.#subMs + Number(leftMs),
              count: Number(count),
            };
          });
    return { answers, extra: Number(extra), used: Number(used), shares };
  }

  #noteAnswer(): void {
    if (!this.#isSilent) return;
    this.#isSilent = false;
    this.#options.logger?.info({ limit: this.#options.name }, "Redis answers for the limit again");
  }

  #noteSilence(why: string): void {
    const { logger, name, clock, counts } = this.#options;
    counts.unanswered++;
    this.#silentUntilMs = clock.monotonicMs() + SILENCE_MS;
    if (this.#isSilent) return;
    this.#isSilent = true;
    logger?.warn({ limit: name, why }, "Redis does not answer for the limit: each process counts for itself");
  }
}
