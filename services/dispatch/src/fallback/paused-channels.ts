// shared/redis/fallback/paused-channels-store -> here -> fallback-workers: the channels that this process may not send
// by now.
// Guarantees: known before anything is sent. A change is applied and confirmed within LOOK_MS; while Redis does not
// answer, the last state holds. Sends in progress end as usual. While it runs, this process is listed among those that
// must confirm a pause.
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import {
  forgetConfirmation,
  confirmPauses,
  readPausedChannels,
} from "@petrel/shared/redis/fallback/paused-channels-store";
import { leaveSenders, renewSender } from "@petrel/shared/redis/partitions/dispatcher-members";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface PausedChannelsOptions {
  readonly scripts: ScriptRunner;
  readonly dispatcherId: string;
  /** Whether it owns partitions; then it is listed already. */
  readonly isOwner: boolean;
  readonly registry: Registry;
  /** A channel may send again. */
  readonly onResumed: () => void;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
}

const LOOK_MS = 1_000;
/** Covers several looks; a process that died is waited for no longer than this. */
const LEASE_MS = 5_000;

export class PausedChannels {
  readonly #options: PausedChannelsOptions;
  readonly #loop: Loop;
  /** Undefined until it has been read. */
  #paused: ReadonlySet<string> | undefined;
  #told: string | undefined;

  constructor(options: PausedChannelsOptions) {
    this.#options = options;
    this.#loop = new Loop(async () => {
      await this.#look();
      return LOOK_MS;
    }, options.ticks);
    const gauge = new Gauge({
      name: "petrel_fallback_channel_paused",
      help: "1 while an operator has paused this fallback channel: its messages wait",
      labelNames: ["channel"],
      registers: [],
      collect: () => {
        for (const channel of fallbackChannels)
          gauge.set({ channel }, this.#paused?.has(channel) === true ? 1 : 0);
      },
    });
    options.registry.registerMetric(gauge);
  }

  /** While it is unknown, nothing may be sent. */
  readonly isPaused = (channel: string): boolean => this.#paused?.has(channel) ?? true;

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    const { scripts, dispatcherId, isOwner } = this.#options;
    const { redis } = scripts;
    await Promise.all([
      forgetConfirmation(redis, dispatcherId),
      ...(isOwner ? [] : [leaveSenders(redis, dispatcherId)]),
    ]).catch(() => undefined);
  }

  async #look(): Promise<void> {
    const { scripts, dispatcherId, isOwner, logger, onResumed } = this.#options;
    const { redis } = scripts;
    try {
      // Do this first: whoever pauses a channel from now on waits for this process.
      if (!isOwner) await renewSender(scripts, dispatcherId, LEASE_MS);
      const names = [...(await readPausedChannels(redis)).keys()].toSorted();
      const before = this.#paused;
      this.#paused = new Set(names);
      const now = names.join(" ");
      if (this.#told !== now) {
        if (before !== undefined || names.length > 0)
          logger.info({ paused: names }, "paused fallback channels");
        await confirmPauses(redis, dispatcherId, names);
        this.#told = now;
      }
      if (before === undefined || [...before].some((name) => !names.includes(name))) onResumed();
    } catch (error) {
      logger.debug({ reason: describeError(error) }, "paused channels not read: the last state holds");
    }
  }
}
