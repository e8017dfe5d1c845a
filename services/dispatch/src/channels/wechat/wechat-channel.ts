// fallback/ask-channel -> here -> send-to-openid: the fallback channel that reaches a user in WeChat.
// Guarantees: each attempt tries, once, every openid of the user. One that has the message does not get it again when
// another is retried, and the message counts as taken. A repetition carries the same client_msg_id, for messages where
// WeChat has one.
import type { BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { WechatDevice } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { keepDeviceSends, readDeviceSends } from "@petrel/shared/redis/fallback/device-sends-store";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  noteRefusal,
  noteUnanswered,
  readRefusals,
  readUnanswered,
} from "@petrel/shared/redis/wechat/wechat-notes";
import { combineResults, type DeviceResult } from "../combine-results.js";
import type { ChannelAnswer, ChannelProbe, FallbackChannel, FallbackJob } from "../fallback-channel.js";
import { sendWithin } from "../send-within.js";
import { unlessAborted } from "../unless-aborted.js";
import type { AccessTokens } from "./access-tokens.js";
import { probeApps } from "./probe-apps.js";
import {
  type OpenidSend,
  type OpenidSignals,
  sendToOpenid,
  type SendToOpenidDeps,
} from "./send-to-openid.js";
import type { WechatClient } from "./wechat-client.js";

export interface WechatChannelOptions extends Omit<
  SendToOpenidDeps,
  "devices" | "invalidations" | "tokens" | "client"
> {
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  readonly devices: Pick<DevicesStore, "list" | "touch">;
  readonly invalidations: Pick<DeviceInvalidations, "forget" | "stop">;
  readonly tokens: Pick<AccessTokens, "current" | "refuse" | "close">;
  readonly client: Pick<WechatClient, "send" | "askAddresses" | "close">;
  /** For an attempt at all of a user's openids, ms. */
  readonly timeoutMs: number;
  /** The same backoff and number of attempts as fall-back. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
}

/** From the end of an attempt's time to the answer. */
const ANSWER_MS = 500;

export class WechatChannel implements FallbackChannel {
  readonly name = "wechat";
  readonly platform = "wechat";
  readonly longestSendMs: number;
  readonly #options: WechatChannelOptions;

  constructor(options: WechatChannelOptions) {
    this.#options = options;
    this.longestSendMs = options.timeoutMs + ANSWER_MS;
  }

  send(job: FallbackJob, signal: AbortSignal): Promise<ChannelAnswer> {
    return sendWithin(this.#options.timeoutMs, signal, (either) =>
      this.#sendToAll(job, { ending: signal, either }),
    );
  }

  probe(signal: AbortSignal): Promise<readonly ChannelProbe[]> {
    return probeApps(this.#options, signal);
  }

  async close(): Promise<void> {
    const { tokens, client, invalidations } = this.#options;
    client.close();
    await tokens.close();
    await invalidations.stop();
  }

  async #sendToAll(job: FallbackJob, signals: OpenidSignals): Promise<ChannelAnswer> {
    const { scripts, retry, maxAttempts, clock } = this.#options;
    const { userId, attempt, expiresAtMs, serverNowMs = () => clock.wallMs() } = job;
    const keys = this.#keysOf(userId);
    const { either } = signals;
    const devices = await unlessAborted(this.#devicesOf(userId), either);
    if (devices.length === 0) return { outcome: "no-device" };
    const [refusals, before, unansweredAtMs] = await unlessAborted(
      Promise.all([
        readRefusals(scripts, keys, userId),
        readDeviceSends(scripts.redis, keys, job.id),
        // At the first attempt too, because a replayed dead letter begins with one.
        readUnanswered(scripts, keys, job.id),
      ]),
      either,
    );
    const open = devices.filter(({ id }) => !before.has(id));
    const taken = new Set<string>();
    const sendOne = async (device: WechatDevice): Promise<DeviceResult> => {
      const send: OpenidSend = {
        job,
        device,
        refusals,
        unansweredAtMs,
        nowMs: serverNowMs(),
        noteRefusal: (template) => noteRefusal(scripts, keys, userId, device, template),
        noteUnanswered: () =>
          noteUnanswered(scripts, keys, job.id, serverNowMs(), expiresAtMs - serverNowMs()),
      };
      const result = await sendToOpenid(this.#options, send, signals);
      if (result.kind === "taken") taken.add(device.id);
      return result;
    };
    let results: DeviceResult[];
    try {
      results = await Promise.all(open.map(sendOne));
    } catch (error) {
      // Fire and forget: without this note WeChat still recognises the message by its id.
      void this.#keep(keys, job, taken).catch(() => undefined);
      throw error;
    }
    const next = { attempt, maxAttempts, retry, nowMs: serverNowMs(), expiresAtMs };
    const answer = combineResults(results, before.size > 0, next);
    // Await it before the retry is settled, so that the next attempt finds it.
    if (answer.outcome === "retry") await unlessAborted(this.#keep(keys, job, taken), either);
    return answer;
  }

  async #keep(keys: PartitionKeys, job: FallbackJob, taken: ReadonlySet<string>): Promise<void> {
    if (taken.size > 0) await keepDeviceSends(this.#options.scripts, keys, job, taken);
  }

  async #devicesOf(userId: string): Promise<WechatDevice[]> {
    const devices = await this.#options.devices.list(userId);
    return devices.filter((device): device is WechatDevice => device.platform === "wechat");
  }

  #keysOf(userId: string): PartitionKeys {
    const { partitions } = this.#options;
    const keys = partitions[partitionOfUser(userId, partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    return keys;
  }
}
