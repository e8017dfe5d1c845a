// open-dispatcher -> here: the fallback channels that the configuration names.
// Guarantees: each is complete and usable by its settings, or the start fails with a line that says what is missing; in
// the order in which they are asked.
import { type ApnsSettings, type ChannelDeps, openApns } from "./channels/apns/open-apns.js";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import { openWebhook, type WebhookSettings } from "./channels/webhook/open-webhook.js";

/** @throws ConfigError */
export function openChannels(settings: ApnsSettings & WebhookSettings, deps: ChannelDeps): FallbackChannel[] {
  // The webhook's settings first: what is opened must be closed, and a start that fails does not.
  const webhook = openWebhook(settings, deps);
  // A phone before the business system, which is told only of users without one.
  return [openApns(settings, deps), webhook].filter((channel) => channel !== undefined);
}
