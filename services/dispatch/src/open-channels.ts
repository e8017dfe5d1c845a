// open-dispatcher -> here: the fallback channels that the configuration names.
// Guarantees: in the order of FALLBACK_CHANNELS, without those that are not configured. If a channel's settings are
// incomplete or unusable, the start fails with a line that says so.
// How to add one: its name in shared/src/protocol/fallback/fallback-channels.ts, its room beside channels/apns with an
// `open…` that returns undefined if it is not configured, its settings in config.ts, and a line below.
import type { FallbackChannelName } from "@petrel/shared/protocol/fallback/fallback-channels";
import { type ApnsSettings, openApns } from "./channels/apns/open-apns.js";
import type { ChannelDeps } from "./channels/channel-deps.js";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import { openWeb, type WebSettings } from "./channels/web/open-web.js";
import { openWebhook, type WebhookSettings } from "./channels/webhook/open-webhook.js";
import { openWechat, type WechatSettings } from "./channels/wechat/open-wechat.js";

export interface ChannelSettings extends ApnsSettings, WebSettings, WechatSettings, WebhookSettings {
  readonly fallbackChannels: readonly FallbackChannelName[];
}

type OpenChannel = (settings: ChannelSettings, deps: ChannelDeps) => FallbackChannel | undefined;

/** Those that open nothing come first, because a failed start closes nothing. */
const openers: Partial<Readonly<Record<FallbackChannelName, OpenChannel>>> = {
  webhook: openWebhook,
  web: openWeb,
  wechat: openWechat,
  apns: openApns,
};

/** @throws ConfigError */
export function openChannels(settings: ChannelSettings, deps: ChannelDeps): FallbackChannel[] {
  const opened = new Map(
    Object.entries(openers)
      .filter(([name]) => settings.fallbackChannels.some((listed) => listed === name))
      .map(([name, open]) => [name, open(settings, deps)]),
  );
  return settings.fallbackChannels.flatMap((name) => opened.get(name) ?? []);
}
