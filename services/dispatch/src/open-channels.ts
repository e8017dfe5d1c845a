// main -> here: the fallback channels that the configuration names.
// Guarantees: each is complete and usable by its settings, or the start fails with a line that says what is missing; in
// the order in which they are asked.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { DispatchConfig } from "./config.js";
import { type ApnsSettings, type ChannelDeps, openApns } from "./channels/apns/open-apns.js";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import { parseWebhookSecrets } from "./channels/webhook/sign-webhook.js";
import { WebhookChannel } from "./channels/webhook/webhook-channel.js";

type WebhookSettings = Pick<
  DispatchConfig,
  "fallbackWebhookUrl" | "fallbackWebhookSecretFile" | "fallbackWebhookTimeoutMs"
>;
export type ChannelSettings = ApnsSettings & WebhookSettings;

/** @throws ConfigError */
export function openChannels(settings: ChannelSettings, deps: ChannelDeps): FallbackChannel[] {
  // The webhook's settings first: what is opened must be closed, and a start that fails does not.
  const webhook = openWebhook(settings, deps);
  // A phone before the business system: it is told only of those who have none.
  return [openApns(settings, deps), webhook].filter((channel) => channel !== undefined);
}

function openWebhook(
  settings: WebhookSettings,
  { clock, tracing }: ChannelDeps,
): FallbackChannel | undefined {
  const { fallbackWebhookUrl: url, fallbackWebhookSecretFile: file } = settings;
  if (url === "") {
    if (file !== undefined) throw new ConfigError("FALLBACK_WEBHOOK_SECRET_FILE needs FALLBACK_WEBHOOK_URL");
    return undefined;
  }
  const { username, password } = new URL(url);
  if (username !== "" || password !== "") {
    throw new ConfigError("FALLBACK_WEBHOOK_URL must hold no user and password: sign the requests instead");
  }
  const secrets = file === undefined ? [] : readSecrets(file);
  return new WebhookChannel({ url, secrets, timeoutMs: settings.fallbackWebhookTimeoutMs, clock, tracing });
}

function readSecrets(file: string): Buffer[] {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`FALLBACK_WEBHOOK_SECRET_FILE cannot be read: ${describeError(error)}`);
  }
  try {
    return parseWebhookSecrets(content);
  } catch (error) {
    throw new ConfigError(`FALLBACK_WEBHOOK_SECRET_FILE must ${describeError(error)}`);
  }
}
