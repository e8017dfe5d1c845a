// open-dispatcher -> here: the fallback channels that the configuration names.
// Guarantees: in the order in which they are asked; where one's settings are incomplete or unusable, the start fails with
// a line that says so.
import { type ApnsSettings, type ChannelDeps, openApns } from "./channels/apns/open-apns.js";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import { openWebhook, type WebhookSettings } from "./channels/webhook/open-webhook.js";

/** @throws ConfigError */
export function openChannels(settings: ApnsSettings & WebhookSettings, deps: ChannelDeps): FallbackChannel[] {
  // The webhook first: it opens nothing, and a start that fails closes nothing.
  const webhook = openWebhook(settings, deps);
  // A phone before the business system, which is told only of users without one.
  return [openApns(settings, deps), webhook].filter((channel) => channel !== undefined);
}
