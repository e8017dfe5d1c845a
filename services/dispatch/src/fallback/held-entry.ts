// fallback-workers -> here -> fall-back: an entry of the fallback that a worker holds, and what its attempt may use.
import { type BackoffOptions } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { type Span, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { type Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import type { TakenEntry } from "@petrel/shared/redis/fallback/fallback-queue";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import type { FallbackMetrics } from "./fallback-metrics.js";

export interface FallBackOptions {
  readonly scripts: ScriptRunner;
  /** All channels, in the order in which they are asked. */
  readonly channels: readonly FallbackChannel[];
  /** The channel that is asked here; absent: entries are only passed on to the first suitable channel. */
  readonly channel?: string | undefined;
  /** Tells which channels cannot reach a user. */
  readonly devices: Pick<DevicesStore, "list">;
  /** An entry was passed on to this channel's queue. */
  readonly onPassed?: (channel: string, keys: PartitionKeys, priority: Priority) => void;
  readonly metrics: FallbackMetrics;
  readonly logger: Logger;
  readonly clock: Clock;
  /** The backoff between attempts. */
  readonly retry: BackoffOptions;
  readonly maxAttempts: number;
  /** How long an entry may go unsettled before another worker takes it over; ms. The note of a send lasts as long. */
  readonly claimMs: number;
  /** The most dead letters per partition and cause. */
  readonly deadLettersCap: number;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  readonly tracing: Tracing;
}

export interface HeldEntry {
  readonly entry: TakenEntry;
  /** Redis's clock, ms: decides whether a message has expired. */
  readonly serverNowMs: () => number;
  /** The latest start of a send, so that it ends before others take the entry for abandoned; monotonic ms. */
  readonly sendBeforeMs: number;
  /** Whether sends may still begin. */
  readonly mayBegin: () => boolean;
  /** Aborted when everything must end. */
  readonly signal: AbortSignal;
  /** The span of this attempt, if the message is sampled. */
  readonly span?: Span;
}

/** `left`: not settled; another worker must get it. */
export type FallBackResult = "settled" | "left";
