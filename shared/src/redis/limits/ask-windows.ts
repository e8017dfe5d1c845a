// sliding-window-limiter, reported-window-limiter -> here -> limits/take-from-window.lua: the calls of both.
// Guarantees: the queries of one turn leave in one write. Each has its answer by a deadline, which adapts to recent
// answers (answer-times), or none; a later answer is still passed on. After a missing answer nobody waits until an
// answer has come again: one call at a time probes. On a cluster, a master that is slow or away affects only its own
// keys.
import type { Clock } from "../../kernel/clock.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { RecentMap } from "../../kernel/recent-map.js";
import { TurnBatcher } from "../../kernel/turn-batcher.js";
import { subWindowMs, type WindowShare } from "../../kernel/limits/window-ring.js";
import { AnswerTimes } from "./answer-times.js";
import { clusterKeys } from "../keys.js";
import type { LimitCountsOf } from "./limit-counts.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A query about one key. */
export interface WindowQuestion {
  readonly key: string;
  readonly limit: number;
  /** Already taken: counted regardless of the limit. */
  readonly reported: number;
  /** How much to take in advance, as far as the limit allows. */
  readonly extra: number;
  /** Each is granted whole or not at all. */
  readonly takes: readonly number[];
}

export interface WindowAnswer {
  readonly kind: "answer";
  /** "+" for each take that was granted, "-" for the others. */
  readonly answers: string;
  readonly extra: number;
  /** In the whole window, including what was just granted. */
  readonly used: number;
  /** What is used, oldest first, by this process's clock; accurate to half the round trip. */
  readonly shares: readonly WindowShare[];
  /** When the window stops counting what this call took or reported. */
  readonly leavesAtMs: number;
}

interface NoAnswer {
  readonly kind: "none";
  readonly why: string;
}

export interface WindowAsk {
  readonly key: string;
  /** Called when the turn's queries leave, so that it asks for what is needed then. */
  readonly ask: () => WindowQuestion;
  /** Called once. @param answer undefined if Redis did not answer, or recently did not answer others */
  readonly answered: (answer: WindowAnswer | undefined) => void;
  /** Called after `answered(undefined)` if an answer comes after all. */
  readonly answeredLate: (answer: WindowAnswer) => void;
}

/** On a single server, `serverOf` may be omitted. */
export type WindowScripts = Pick<ScriptRunner, "run" | "together"> & Partial<Pick<ScriptRunner, "serverOf">>;

export interface WindowAskerOptions {
  readonly scripts: WindowScripts;
  readonly name: string;
  readonly windowMs: number;
  /** How many sub-windows beyond the window a take counts. */
  readonly longer: number;
  /** The shortest deadline for an answer, ms. */
  readonly deadlineMs: number;
  readonly counts: LimitCountsOf;
  readonly logger: Pick<Logger, "warn" | "info"> | undefined;
  readonly clock: Clock;
}

/** How long nobody asks after an answer is missing. */
const SILENCE_MS = 1_000;
const MAX_IN_FLIGHT = 4;
/** A larger call would make others wait for Redis. */
export const MAX_TAKES = 500;
const MAX_KEYS_PER_FLUSH = 500;
/** How many masters of a cluster are remembered. */
const MAX_SERVERS = 64;

export class WindowAsker {
  readonly #options: WindowAskerOptions;
  readonly #servers = new RecentMap<ServerAsks>(MAX_SERVERS);

  constructor(options: WindowAskerOptions) {
    this.#options = options;
  }

  /**
   * Whether the key's server is silent: it missed an answer and has given none since. This process then decides alone.
   */
  isSilent(key: string): boolean {
    return this.#serverOf(key).isSilent;
  }

  /** Whether the server is silent and due for a probe. */
  isTrialDue(key: string, nowMs: number): boolean {
    return this.#serverOf(key).isTrialDue(nowMs);
  }

  /** How long an answer about this key usually takes. */
  usualMs(key: string): number {
    return this.#serverOf(key).usualMs;
  }

  ask(ask: WindowAsk): void {
    this.#serverOf(ask.key).add(ask);
  }

  #serverOf(key: string): ServerAsks {
    const { scripts, name, windowMs } = this.#options;
    const address = scripts.serverOf?.(clusterKeys.limitWindow(name, windowMs, key)) ?? "";
    const known = this.#servers.get(address);
    if (known !== undefined) return known;
    const server = new ServerAsks(this.#options);
    this.#servers.set(address, server);
    return server;
  }
}

/** The queries to one server. */
class ServerAsks {
  readonly #options: WindowAskerOptions;
  readonly #batcher: TurnBatcher<WindowAsk>;
  readonly #times: AnswerTimes;
  readonly #subMs: number;
  readonly #held: number;
  #silentUntilMs = Number.NEGATIVE_INFINITY;
  #isSilent = false;
  #isTrying = false;

  constructor(options: WindowAskerOptions) {
    this.#options = options;
    this.#times = new AnswerTimes({ floorMs: options.deadlineMs });
    this.#subMs = subWindowMs(options.windowMs);
    this.#held = Math.ceil(options.windowMs / this.#subMs) + options.longer;
    this.#batcher = new TurnBatcher<WindowAsk>({
      maxInFlight: MAX_IN_FLIGHT,
      maxItems: MAX_KEYS_PER_FLUSH,
      flush: (asks) => this.#flush(asks),
    });
  }

  get isSilent(): boolean {
    return this.#isSilent;
  }

  get usualMs(): number {
    return this.#times.usualMs;
  }

  isTrialDue(nowMs: number): boolean {
    return this.#isSilent && !this.#isTrying && nowMs >= this.#silentUntilMs;
  }

  add(ask: WindowAsk): void {
    this.#batcher.add(ask);
  }

  async #flush(asks: readonly WindowAsk[]): Promise<void> {
    const { scripts, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const isTrial = this.#isSilent;
    if (isTrial && !this.isTrialDue(sentAtMs)) {
      // The server has fallen silent since: do not make these wait for another deadline.
      for (const { ask, answered } of asks) {
        ask();
        answered(undefined);
      }
      return;
    }
    this.#isTrying = isTrial;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      // One turn later, so that answers that arrived while this process itself was busy are read first.
      timer = setTimeout(() => setImmediate(() => resolve("late")), this.#times.deadlineMs);
    });
    try {
      await Promise.all(scripts.together(() => asks.map((ask) => this.#askOne(ask, sentAtMs, late))));
    } finally {
      clearTimeout(timer);
      if (isTrial) this.#isTrying = false;
    }
  }

  async #askOne(
    { ask, answered, answeredLate }: WindowAsk,
    sentAtMs: number,
    late: Promise<"late">,
  ): Promise<void> {
    const call = this.#call(ask(), sentAtMs);
    const first = await Promise.race([call, late]);
    if (first !== "late" && first.kind === "answer") {
      answered(first);
      return;
    }
    this.#noteSilence(first === "late" ? "no answer in time" : first.why);
    answered(undefined);
    if (first !== "late") return;
    // Not awaited; it never rejects.
    void call.then((answer) => {
      if (answer.kind === "answer") answeredLate(answer);
    });
  }

  /** Never rejects. */
  async #call(
    { key, limit, reported, extra, takes }: WindowQuestion,
    sentAtMs: number,
  ): Promise<WindowAnswer | NoAnswer> {
    const { scripts, name, windowMs, counts, clock } = this.#options;
    counts.asks++;
    try {
      const text = await scripts.run(
        "take-from-window.v1",
        [clusterKeys.limitWindow(name, windowMs, key)],
        [this.#subMs, this.#held, limit, reported, extra, ...takes],
      );
      const nowMs = clock.monotonicMs();
      const tookMs = nowMs - sentAtMs;
      this.#times.note(tookMs, nowMs);
      // A slower answer leaves the server silent; Redis is told afterwards what was taken meanwhile.
      if (tookMs <= this.#times.ceilingMs) this.#noteAnswer();
      return this.#read(text, (sentAtMs + nowMs) / 2);
    } catch (error) {
      return { kind: "none", why: describeError(error) };
    }
  }

  /** @param ranAtMs when the script ran, estimated */
  #read(text: string, ranAtMs: number): WindowAnswer {
    const [head = "", ring = ""] = text.split("\n");
    const [answers = "", extra, used, leftMs] = head.split(" ");
    const leavesAtMs = ranAtMs + this.#held * this.#subMs + Number(leftMs);
    const shares =
      ring === ""
        ? []
        : ring.split(" ").map((share) => {
            const [age, count] = share.split(":");
            return { leavesAtMs: leavesAtMs - Number(age) * this.#subMs, count: Number(count) };
          });
    return { kind: "answer", answers, extra: Number(extra), used: Number(used), shares, leavesAtMs };
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
