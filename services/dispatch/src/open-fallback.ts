// open-dispatcher -> here -> fallback, channels: the fallback of this process, wired.
// Guarantees: without the role `fallback` nothing is sent from here; what is passed on, paused or buried is still counted.
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import { readFallbackBacklog } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { Service } from "@petrel/shared/service/open-service";
import type { FallbackChannel } from "./channels/fallback-channel.js";
import type { DispatchConfig } from "./config.js";
import { FallbackChain } from "./fallback/fallback-chain.js";
import { addFallbackGauges, createFallbackMetrics } from "./fallback/fallback-metrics.js";
import { PausedChannels } from "./fallback/paused-channels.js";
import { openChannels } from "./open-channels.js";

export interface FallbackDeps {
  readonly config: DispatchConfig;
  readonly service: Pick<Service, "instance" | "metrics" | "clock" | "logger" | "tracing">;
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly cipher: AtRestCipher | undefined;
  readonly recordKeepMs: number;
  readonly ticks: Pick<CommonTicks, "pause">;
}

export interface Fallback {
  readonly isSender: boolean;
  /** Those that this process sends by. */
  readonly channels: readonly FallbackChannel[];
  readonly fallback: FallbackChain;
  readonly pauses: PausedChannels;
  readonly deadLetters: DeadLettersStore;
  readonly stop: () => Promise<void>;
}

/** @throws ConfigError if a channel's settings are wrong */
export function openFallback({
  config,
  service,
  redis,
  scripts,
  partitions,
  cipher,
  recordKeepMs,
  ticks,
}: FallbackDeps): Fallback {
  const { instance: dispatcherId, metrics: registry, clock, logger, tracing } = service;
  const { fallbackCap, dispatchRoles } = config;
  const isSender = dispatchRoles.includes("fallback");
  const channels: readonly FallbackChannel[] = isSender
    ? openChannels(config, { scripts, partitions, registry, clock, logger, tracing, cipher })
    : [];
  const channelNames = channels.map(({ name }) => name);
  const pauses = new PausedChannels({
    scripts,
    dispatcherId,
    isOwner: dispatchRoles.includes("route"),
    registry,
    onResumed: () => fallback.pokeAll(),
    ticks,
    logger,
  });
  const fallback: FallbackChain = new FallbackChain({
    isPaused: pauses.isPaused,
    scripts,
    partitions,
    channels,
    devices: new DevicesStore(scripts, partitions),
    workerId: dispatcherId,
    metrics: createFallbackMetrics(registry, channelNames),
    logger,
    clock,
    ticks,
    concurrency: config.fallbackConcurrency,
    claimMs: config.fallbackClaimMs,
    stopDeadlineMs: 5_000,
    retriesCap: fallbackCap,
    retry: { baseMs: config.fallbackRetryBaseMs, capMs: config.fallbackRetryCapMs },
    maxAttempts: config.fallbackMaxAttempts,
    deadLettersCap: config.deadLettersCap,
    recordKeepMs,
    tracing,
  });
  const deadLetters = new DeadLettersStore(scripts, partitions);
  addFallbackGauges(registry, {
    readBacklogs: (channel) =>
      Promise.all(partitions.map((keys) => readFallbackBacklog(redis, keys, channel))),
    sendingBy: isSender ? (channel) => fallback.sendingBy(channel) : undefined,
    channels: channelNames,
    isPaused: pauses.isPaused,
    fallbackCap,
    countDeadLetters: () => deadLetters.count(),
    nowMs: () => clock.wallMs(),
  });
  return {
    isSender,
    channels,
    fallback,
    pauses,
    deadLetters,
    stop: async () => {
      await fallback.stop();
      await Promise.all(channels.map((channel) => channel.close()));
    },
  };
}
