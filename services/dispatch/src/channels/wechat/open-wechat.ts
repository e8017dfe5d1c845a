// open-channels -> here: the WeChat channel, wired.
// Guarantees: opens only if its settings are complete and usable; otherwise one line says what is wrong.
import { DeviceInvalidations } from "@petrel/shared/redis/devices/device-invalidations";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { AccessTokenStore } from "@petrel/shared/redis/wechat/access-token-store";
import type { ChannelDeps } from "../channel-deps.js";
import { AccessTokens } from "./access-tokens.js";
import { AppGate } from "./app-gate.js";
import { readWechatApps } from "./wechat-apps.js";
import { WechatChannel } from "./wechat-channel.js";
import { type TokenInterface, WechatClient } from "./wechat-client.js";
import { createWechatMetrics } from "./wechat-metrics.js";

/** In the configuration's own terms. */
export interface WechatSettings {
  readonly wechatAppsFile: string | undefined;
  readonly wechatEndpoint: string;
  readonly wechatTokenInterface: TokenInterface;
  readonly wechatTimeoutMs: number;
  readonly wechatConnections: number;
  readonly fallbackRetryBaseMs: number;
  readonly fallbackRetryCapMs: number;
  readonly fallbackMaxAttempts: number;
}

/**
 * @returns undefined if WeChat is not configured
 * @throws ConfigError
 */
export function openWechat(settings: WechatSettings, deps: ChannelDeps): WechatChannel | undefined {
  const apps = readWechatApps(settings.wechatAppsFile);
  if (apps.size === 0) return undefined;
  const { scripts, partitions, registry, clock, logger, tracing, cipher } = deps;
  const { wechatTimeoutMs: timeoutMs } = settings;
  const gates = new Map([...apps.keys()].map((appid) => [appid, new AppGate({ appid, clock, logger })]));
  const metrics = createWechatMetrics(
    registry,
    [...gates].map(([appid, gate]) => ({ appid, isClosed: () => gate.isClosed })),
  );
  const gateOf = (appid: string): AppGate => {
    const gate = gates.get(appid);
    if (gate === undefined) throw new Error(`there is no app ${appid}`);
    return gate;
  };
  const client = new WechatClient({
    endpoint: settings.wechatEndpoint,
    tokenInterface: settings.wechatTokenInterface,
    // Half of an attempt, because a token may have to be fetched first.
    timeoutMs: timeoutMs / 2,
    connections: settings.wechatConnections,
  });
  const tokens = new AccessTokens({
    store: new AccessTokenStore(scripts, partitions),
    client,
    cipher,
    // Longer than a fetch may take, so that only a dead holder loses its lock.
    lockMs: timeoutMs / 2 + 1_000,
    clock,
    logger,
    onFetch: metrics.fetched,
  });
  return new WechatChannel({
    scripts,
    partitions,
    apps,
    gateOf,
    tokens,
    client,
    devices: new DevicesStore(scripts, partitions),
    invalidations: new DeviceInvalidations({
      scripts,
      partitions,
      logger,
      onCounted: metrics.unbound,
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
