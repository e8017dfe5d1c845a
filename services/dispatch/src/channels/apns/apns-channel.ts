// fallback/ask-channel -> here -> send-to-device: the fallback channel for a user's iPhones.
// Guarantees: each attempt tries, once, every device of the user that is registered for such pushes and not
// quarantined. A device that has the message does not get it again when another is retried, and the message counts as
// taken. A repetition after a crash carries the same apns-id and collapse id. Of messages with one collapse key, none
// is sent after a newer one.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import type { BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { IosDevice } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { keepDeviceSends, readDeviceSends } from "@petrel/shared/redis/fallback/device-sends-store";
import type { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ChannelAnswer, ChannelProbe, FallbackChannel, FallbackJob } from "../fallback-channel.js";
import { probeCredentials } from "./probe-credentials.js";
import { fitsPushType } from "./apns-request.js";
import { combineResults, type DeviceResult } from "../combine-results.js";
import { keepCollapseOrder } from "../keep-collapse-order.js";
import { sendToDevice, type SendSignals, type SendToDeviceDeps } from "./send-to-device.js";
import { sendWithin } from "../send-within.js";
import { unlessAborted } from "../unless-aborted.js";

export interface ApnsChannelOptions extends Omit<SendToDeviceDeps, "devices" | "invalidations"> {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  readonly devices: Pick<DevicesStore, "list" | "touch">;
  readonly invalidations: Pick<DeviceInvalidations, "forget" | "quarantine" | "stop">;
  /** For an attempt at all of a user's devices, ms. */
  readonly timeoutMs: number;
  /** The same backoff and number of attempts as fall-back. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
}

/** From the end of an attempt's time to the answer. */
const ANSWER_MS = 500;
/** How long to wait for another message with the same collapse key. */
const TURN_MS = 2_000;

export class ApnsChannel implements FallbackChannel {
  readonly name = "apns";
  readonly platform = "ios";
  readonly longestSendMs: number;
  readonly #options: ApnsChannelOptions;

  constructor(options: ApnsChannelOptions) {
    this.#options = options;
    this.longestSendMs = options.timeoutMs + ANSWER_MS;
    options.breaker.start();
  }

  send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    return sendWithin(this.#options.timeoutMs, signal, (either) =>
      this.#sendInTurn(job, { ending: signal, either }),
    );
  }

  probe(signal: AbortSignal): Promise<readonly ChannelProbe[]> {
    return probeCredentials(this.#options.routes.all, signal);
  }

  /** Waits for sends in progress, until their answers and the effects on devices are written. */
  async close(): Promise<void> {
    this.#options.breaker.stop();
    await this.#options.routes.close();
    await this.#options.invalidations.stop();
  }

  async #sendInTurn(job: FallbackJob, signals: SendSignals): Promise<ChannelAnswer> {
    const { clock, scripts } = this.#options;
    const { collapseKey, userId, epoch, seq, expiresAtMs } = job;
    const keys = this.#keysOf(userId);
    // At the first attempt too, because a replayed dead letter begins with one.
    const [devices, before] = await Promise.all([
      this.#devicesOf(userId, signals.either),
      unlessAborted(readDeviceSends(scripts.redis, keys, job.id), signals.either),
    ]);
    // If one phone has it, it was delivered, whatever has become of the other devices since.
    const none = before.size > 0 ? "taken" : "no-device";
    if (devices.length === 0) return { outcome: none };
    const nowMs = clock.wallMs();
    const usable = devices.filter(
      (device) => !isSetAside(device, nowMs) && fitsPushType(device.topic, job.notification),
    );
    if (usable.length === 0) {
      return { outcome: none, notes: devices.map((device) => noteOfUnused(device, nowMs)) };
    }
    const send = (): Promise<ChannelAnswer> => this.#sendToAll(job, usable, before, signals);
    if (collapseKey === undefined) return send();
    const answer = await keepCollapseOrder(
      {
        scripts,
        keys,
        leaseMs: this.longestSendMs,
        waitMs: TURN_MS,
        keepUntilMs: expiresAtMs,
      },
      { userId, collapseKey, epoch, seq },
      signals.either,
      send,
    );
    return answer.outcome === "superseded" && before.size > 0 ? { outcome: "taken" } : answer;
  }

  async #sendToAll(
    job: FallbackJob,
    devices: readonly IosDevice[],
    before: ReadonlySet<string>,
    signals: SendSignals,
  ): Promise<ChannelAnswer> {
    const { retry, maxAttempts, clock } = this.#options;
    const { attempt, expiresAtMs, serverNowMs = () => clock.wallMs() } = job;
    const takenNow = new Set<string>();
    const open = devices.filter((device) => !before.has(device.id));
    let results: DeviceResult[];
    try {
      results = await Promise.all(open.map((device) => this.#sendToOne(job, device, signals, takenNow)));
    } catch (error) {
      // Fire and forget: without this note the phone still recognises the message by its id.
      void this.#keep(job, takenNow).catch(() => undefined);
      throw error;
    }
    const next = { attempt, maxAttempts, retry, nowMs: serverNowMs(), expiresAtMs };
    const answer = combineResults(results, before.size > 0, next);
    // Await it before the retry is settled, so that the next attempt finds it.
    if (answer.outcome === "retry") await unlessAborted(this.#keep(job, takenNow), signals.either);
    return answer;
  }

  async #sendToOne(
    job: FallbackJob,
    device: IosDevice,
    signals: SendSignals,
    takenNow: Set<string>,
  ): Promise<DeviceResult> {
    const result = await sendToDevice(this.#options, job, device, signals);
    if (result.kind === "taken") takenNow.add(device.id);
    return result;
  }

  async #keep(job: FallbackJob, taken: ReadonlySet<string>): Promise<void> {
    if (taken.size === 0) return;
    await keepDeviceSends(this.#options.scripts, this.#keysOf(job.userId), job, taken);
  }

  async #devicesOf(userId: string, signal: AbortSignal): Promise<IosDevice[]> {
    const devices = await unlessAborted(this.#options.devices.list(userId), signal);
    return devices.filter((device): device is IosDevice => device.platform === "ios");
  }

  #keysOf(userId: string): PartitionKeys {
    const { partitions } = this.#options;
    const keys = partitions[partitionOfUser(userId, partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}

function isSetAside({ quarantinedUntilMs = 0 }: IosDevice, nowMs: number): boolean {
  return quarantinedUntilMs > nowMs;
}

function noteOfUnused(device: IosDevice, nowMs: number) {
  const { id, topic, quarantinedUntilMs = 0 } = device;
  const reason = isSetAside(device, nowMs)
    ? `set aside until ${formatTime(quarantinedUntilMs)}`
    : `registered for other pushes: ${topic}`;
  return { outcome: "no-device", reason, details: { device: id } } as const;
}
