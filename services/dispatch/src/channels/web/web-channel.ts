// fallback/ask-channel -> here -> send-to-browser: the fallback channel for a user's browsers while the page is closed.
// Guarantees: each attempt tries, once, every browser of the user. One that has the message does not get it again when
// another is retried, and the message counts as taken. Of messages with one collapse key, none is sent after a newer
// one.
import type { BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { WebDevice } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { keepDeviceSends, readDeviceSends } from "@petrel/shared/redis/fallback/device-sends-store";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { combineResults } from "../combine-results.js";
import type { ChannelAnswer, ChannelProbe, FallbackChannel, FallbackJob } from "../fallback-channel.js";
import { keepCollapseOrder } from "../keep-collapse-order.js";
import { sendWithin } from "../send-within.js";
import { unlessAborted } from "../unless-aborted.js";
import { buildPush } from "./build-push.js";
import { probeHosts } from "./probe-hosts.js";
import { sendToBrowser, type SendToBrowserDeps } from "./send-to-browser.js";

export interface WebChannelOptions extends Omit<SendToBrowserDeps, "devices" | "invalidations"> {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  readonly devices: Pick<DevicesStore, "list" | "touch">;
  readonly invalidations: Pick<DeviceInvalidations, "forget" | "stop">;
  /** For an attempt at all of a user's browsers, ms. */
  readonly timeoutMs: number;
  /** The same backoff and number of attempts as fall-back. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
  readonly closeSenders: () => void;
  /** An address at each push service that can be named, of a subscription that does not exist. */
  readonly probeEndpoints: readonly string[];
}

/** From the end of an attempt's time to the answer. */
const ANSWER_MS = 500;
/** How long to wait for another message with the same collapse key. */
const TURN_MS = 2_000;

export class WebChannel implements FallbackChannel {
  readonly name = "web";
  readonly platform = "web";
  readonly longestSendMs: number;
  readonly #options: WebChannelOptions;

  constructor(options: WebChannelOptions) {
    this.#options = options;
    this.longestSendMs = options.timeoutMs + ANSWER_MS;
  }

  send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    return sendWithin(this.#options.timeoutMs, signal, (either) => this.#sendInTurn(job, either));
  }

  probe(signal: AbortSignal): Promise<readonly ChannelProbe[]> {
    return probeHosts(this.#options, this.#options.probeEndpoints, signal);
  }

  /** Waits for sends in progress, until their answers and the effects on devices are written. */
  async close(): Promise<void> {
    this.#options.closeSenders();
    await this.#options.invalidations.stop();
  }

  async #sendInTurn(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    const { scripts } = this.#options;
    const { collapseKey, userId, epoch, seq, expiresAtMs } = job;
    const keys = this.#keysOf(userId);
    const [devices, before] = await Promise.all([
      this.#browsersOf(userId, signal),
      unlessAborted(readDeviceSends(scripts.redis, keys, job.id), signal),
    ]);
    if (devices.length === 0) return { outcome: before.size > 0 ? "taken" : "no-device" };
    const built = buildPush(job);
    if (!built.ok) return { outcome: "failed", cause: "rejected", reason: built.reason };
    const send = (): Promise<ChannelAnswer> => this.#sendToAll(job, built.text, devices, before, signal);
    if (collapseKey === undefined) return send();
    const order = { scripts, keys, leaseMs: this.longestSendMs, waitMs: TURN_MS, keepUntilMs: expiresAtMs };
    const answer = await keepCollapseOrder(order, { userId, collapseKey, epoch, seq }, signal, send);
    return answer.outcome === "superseded" && before.size > 0 ? { outcome: "taken" } : answer;
  }

  async #sendToAll(
    job: FallbackJob,
    text: Buffer,
    devices: readonly WebDevice[],
    before: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<ChannelAnswer> {
    const { retry, maxAttempts, clock } = this.#options;
    const { attempt, expiresAtMs, serverNowMs = () => clock.wallMs() } = job;
    const takenNow = new Set<string>();
    const open = devices.filter(({ id }) => !before.has(id));
    const settled = await Promise.allSettled(
      open.map(async (device) => {
        const result = await sendToBrowser(this.#options, job, text, device, signal);
        if (result.kind === "taken") takenNow.add(device.id);
        return result;
      }),
    );
    const failed = settled.find((one) => one.status === "rejected");
    if (failed !== undefined) {
      // Fire and forget: without this note the browser may show the message again.
      void this.#keep(job, takenNow).catch(() => undefined);
      throw failed.reason;
    }
    const results = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const next = { attempt, maxAttempts, retry, nowMs: serverNowMs(), expiresAtMs };
    const answer = combineResults(results, before.size > 0, next);
    // Await it before the retry is settled, so that the next attempt finds it.
    if (answer.outcome === "retry") await unlessAborted(this.#keep(job, takenNow), signal);
    return answer;
  }

  async #keep(job: FallbackJob, taken: ReadonlySet<string>): Promise<void> {
    if (taken.size === 0) return;
    await keepDeviceSends(this.#options.scripts, this.#keysOf(job.userId), job, taken);
  }

  async #browsersOf(userId: string, signal: AbortSignal): Promise<WebDevice[]> {
    const devices = await unlessAborted(this.#options.devices.list(userId), signal);
    return devices.filter((device): device is WebDevice => device.platform === "web");
  }

  #keysOf(userId: string): PartitionKeys {
    const { partitions } = this.#options;
    const keys = partitions[partitionOfUser(userId, partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}
