// open-channels -> here: the Web Push channel, wired.
// Guarantees: opens only if its settings are complete and usable; otherwise one line says what is wrong.
import { ConfigError } from "@petrel/shared/kernel/config";
import { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import { readVapidPrivateKey } from "@petrel/shared/security/web-push/vapid-key";
import { createResolver } from "../../webhooks/sender/checked-lookup.js";
import { WebhookSender } from "../../webhooks/sender/webhook-sender.js";
import type { ChannelDeps } from "../channel-deps.js";
import { HostBreaker } from "./host-breaker.js";
import { probeEndpoints } from "./probe-hosts.js";
import { VapidTokens } from "./vapid-tokens.js";
import { WebChannel } from "./web-channel.js";
import { createWebPushMetrics } from "./web-push-metrics.js";

/** In the configuration's own terms. */
export interface WebSettings {
  readonly webPushHosts: readonly string[];
  readonly vapidKeyFile: string | undefined;
  readonly vapidSubject: string | undefined;
  readonly webPushTimeoutMs: number;
  readonly fallbackRetryBaseMs: number;
  readonly fallbackRetryCapMs: number;
  readonly fallbackMaxAttempts: number;
}

const SUBJECT = /^(mailto:[^@\s]+@[^@\s]+|https:\/\/[!-~]+)$/;
const LOOKUPS_AT_A_TIME = 2;

/**
 * @returns undefined if Web Push is not configured
 * @throws ConfigError
 */
export function openWeb(settings: WebSettings, deps: ChannelDeps): WebChannel | undefined {
  const hosts = new PushHosts(settings.webPushHosts);
  const { vapidKeyFile: file, vapidSubject: subject, webPushTimeoutMs: timeoutMs } = settings;
  if (file === undefined && subject === undefined) return undefined;
  if (file === undefined || subject === undefined) {
    throw new ConfigError("Web Push needs both VAPID_KEY_FILE and VAPID_SUBJECT");
  }
  if (!SUBJECT.test(subject)) {
    throw new ConfigError(
      "VAPID_SUBJECT must be mailto: and an address, or an https: URL, where push services can write to",
    );
  }
  const key = readVapidPrivateKey(file);
  const { scripts, partitions, clock, logger, registry, tracing } = deps;
  const metrics = createWebPushMetrics(registry);
  const resolveName = createResolver(LOOKUPS_AT_A_TIME);
  const senders = {
    open: new WebhookSender({ timeoutMs, allowPrivate: false, resolveName }),
    named: new WebhookSender({ timeoutMs, allowPrivate: true, resolveName }),
  };
  return new WebChannel({
    scripts,
    partitions,
    hosts,
    senders,
    closeSenders: () => {
      senders.open.close();
      senders.named.close();
    },
    probeEndpoints: probeEndpoints(settings.webPushHosts),
    vapid: new VapidTokens({ key, subject, clock }),
    breaker: new HostBreaker({ clock, onChange: metrics.breaker }),
    devices: new DevicesStore(scripts, partitions),
    invalidations: new DeviceInvalidations({
      scripts,
      partitions,
      logger,
      onCounted: metrics.invalidated,
    }),
    metrics,
    clock,
    logger,
    tracing,
    timeoutMs,
    retry: { baseMs: settings.fallbackRetryBaseMs, capMs: settings.fallbackRetryCapMs },
    maxAttempts: settings.fallbackMaxAttempts,
  });
}
