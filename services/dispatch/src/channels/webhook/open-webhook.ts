// open-channels -> here: the webhook channel, with its secrets.
// Guarantees: opens only if its settings are complete and usable; otherwise one line says what is wrong.
import { readFileSync } from "node:fs";
import type { Clock } from "@petrel/shared/kernel/clock";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { createResolver } from "../../webhooks/sender/checked-lookup.js";
import { parseWebhookSecrets } from "../../webhooks/sender/sign-webhook.js";
import { WebhookSender } from "../../webhooks/sender/webhook-sender.js";
import { WebhookChannel } from "./webhook-channel.js";

/** In the configuration's own terms. */
export interface WebhookSettings {
  /** Empty means none. */
  readonly fallbackWebhookUrl: string;
  readonly fallbackWebhookSecretFile: string | undefined;
  readonly fallbackWebhookTimeoutMs: number;
}

export interface WebhookDeps {
  readonly clock: Clock;
  readonly tracing: Tracing;
}

/** There is only one name; a second look-up may start if the first takes long. */
const LOOKUPS = 2;

/**
 * @returns undefined if no webhook is configured
 * @throws ConfigError
 */
export function openWebhook(
  settings: WebhookSettings,
  { clock, tracing }: WebhookDeps,
): WebhookChannel | undefined {
  const { fallbackWebhookUrl: url, fallbackWebhookSecretFile: file } = settings;
  if (url === "") {
    if (file !== undefined) throw new ConfigError("FALLBACK_WEBHOOK_SECRET_FILE needs FALLBACK_WEBHOOK_URL");
    return undefined;
  }
  const { username, password } = new URL(url);
  if (username !== "" || password !== "") {
    throw new ConfigError(
      "FALLBACK_WEBHOOK_URL must not contain a user and password: sign the requests instead",
    );
  }
  const secrets = file === undefined ? [] : readSecrets(file);
  const { fallbackWebhookTimeoutMs: timeoutMs } = settings;
  const sender = new WebhookSender({ timeoutMs, allowPrivate: true, resolveName: createResolver(LOOKUPS) });
  return new WebhookChannel({ url, secrets, sender, timeoutMs, clock, tracing });
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
