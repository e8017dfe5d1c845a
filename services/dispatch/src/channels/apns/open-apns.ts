// open-channels -> here: the APNs channel, wired.
// Guarantees: opens only if its settings are complete and usable; otherwise one line says what is wrong.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import { ApnsSpikesStore } from "@petrel/shared/redis/fallback/apns-spikes-store";
import { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { ProviderTokenStore } from "@petrel/shared/redis/fallback/provider-token-store";
import type { ChannelDeps } from "../channel-deps.js";
import { ApnsChannel } from "./apns-channel.js";
import { type ApnsAppsSettings, readApnsApps } from "./credentials/apns-apps.js";
import { ApnsRoutes } from "./apns-routes.js";
import { createApnsMetrics } from "./apns-metrics.js";
import { DeviceBreaker } from "./device-breaker.js";

/** In the configuration's own terms. */
export interface ApnsSettings extends ApnsAppsSettings {
  readonly apnsEndpoint: string;
  readonly apnsSandboxEndpoint: string;
  readonly apnsCaFile: string | undefined;
  /** Empty means none. */
  readonly apnsProxyUrl: string;
  readonly apnsTimeoutMs: number;
  readonly apnsSuspicionMs: number;
  readonly apnsBreakerOpenMs: number;
  readonly fallbackRetryBaseMs: number;
  readonly fallbackRetryCapMs: number;
  readonly fallbackMaxAttempts: number;
}

/**
 * How long until a device whose token Apple called bad is tried again; it is swept when it has not been seen for long.
 */
const QUARANTINE_MS = 6 * 60 * 60_000;
/** How long until one request probes a credential that Apple refused. */
const HALT_MS = 10 * 60_000;

/**
 * @returns undefined if APNs is not configured
 * @throws ConfigError
 */
export function openApns(settings: ApnsSettings, deps: ChannelDeps): ApnsChannel | undefined {
  const apps = readApnsApps(settings);
  const ca = settings.apnsCaFile === undefined ? undefined : readAuthorities(settings.apnsCaFile);
  if (apps.length === 0) return undefined;
  const { scripts, partitions, clock, logger, registry, tracing } = deps;
  const { apnsTimeoutMs: timeoutMs, apnsProxyUrl } = settings;
  const metrics = createApnsMetrics(registry, () => routes.all);
  const routes: ApnsRoutes = new ApnsRoutes({
    apps,
    endpoints: { production: settings.apnsEndpoint, sandbox: settings.apnsSandboxEndpoint },
    ca,
    proxyUrl: apnsProxyUrl === "" ? undefined : apnsProxyUrl,
    waitMs: timeoutMs / 2,
    requestTimeoutMs: (timeoutMs * 2) / 3,
    haltMs: HALT_MS,
    tokenStore: new ProviderTokenStore(scripts, partitions),
    onConnection: metrics.connection,
    clock,
    logger,
  });
  return new ApnsChannel({
    scripts,
    partitions,
    routes,
    devices: new DevicesStore(scripts, partitions),
    invalidations: new DeviceInvalidations({
      scripts,
      partitions,
      logger,
      onCounted: metrics.invalidated,
    }),
    breaker: new DeviceBreaker({
      clock,
      logger,
      suspicionMs: settings.apnsSuspicionMs,
      openMs: settings.apnsBreakerOpenMs,
      onChange: metrics.breaker,
      spikes: new ApnsSpikesStore(scripts),
    }),
    metrics,
    clock,
    logger,
    tracing,
    quarantineMs: QUARANTINE_MS,
    timeoutMs,
    retry: { baseMs: settings.fallbackRetryBaseMs, capMs: settings.fallbackRetryCapMs },
    maxAttempts: settings.fallbackMaxAttempts,
  });
}

function readAuthorities(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigError(`APNS_CA_FILE cannot be read: ${describeError(error)}`);
  }
}
