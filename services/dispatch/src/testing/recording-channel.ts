// Tests only: a fallback channel that records its jobs and answers as it is told.
// Guarantees: every job is in `jobs`, in order, before it is answered; `hold()` holds answers back.
import type { ChannelAnswer, FallbackChannel, FallbackJob } from "../channels/fallback-channel.js";

export type AnswerJob = (job: FallbackJob) => ChannelAnswer | Promise<ChannelAnswer>;

export class RecordingChannel implements FallbackChannel {
  readonly name: string;
  readonly platform?: "ios" | "wechat" | "web";
  readonly longestSendMs: number;
  readonly jobs: FallbackJob[] = [];
  /** The most sends that were in progress at the same time. */
  mostAtOnce = 0;
  isClosed = false;
  #answer: AnswerJob;
  #underWay = 0;
  #held: (() => void)[] | undefined;

  constructor({
    name = "recording",
    platform,
    longestSendMs = 10_000,
    answer = () => ({ outcome: "taken" }),
  }: {
    readonly name?: string;
    readonly platform?: "ios" | "wechat" | "web";
    readonly longestSendMs?: number;
    readonly answer?: AnswerJob;
  } = {}) {
    this.name = name;
    if (platform !== undefined) this.platform = platform;
    this.longestSendMs = longestSendMs;
    this.#answer = answer;
  }

  get ids(): string[] {
    return this.jobs.map(({ id }) => id);
  }

  answerWith(answer: AnswerJob): void {
    this.#answer = answer;
  }

  /** Makes sends wait until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const go of held) go();
  }

  async send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    signal.throwIfAborted();
    this.jobs.push(job);
    this.#underWay++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#underWay);
    try {
      if (this.#held !== undefined) await this.#wait(this.#held, signal);
      return await this.#answer(job);
    } finally {
      this.#underWay--;
    }
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  #wait(held: (() => void)[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      held.push(resolve);
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  }
}
