// dispatch/channels -> here -> redis/invalidate-devices: devices that a provider no longer reaches.
// Guarantees: senders never wait here. Verdicts that arrive together are sent together, one call per partition. What
// Redis cannot take now is retried. If a verdict is lost with this process or beyond the bound, the provider gives it
// again.
import { setMaxListeners } from "node:events";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import { inSlices } from "../../kernel/in-slices.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { pause } from "../../kernel/pause.js";
import { TurnBatcher } from "../../kernel/turn-batcher.js";
import type { ApnsEnvironment } from "../../protocol/fallback/device.js";
import type {
  InvalidationOutcome,
  InvalidationReason,
} from "../../protocol/fallback/invalidation-reasons.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { isConnectionError } from "../connection/connect.js";
import { invalidateDevices, type DeviceVerdict } from "./invalidate-devices.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export type { InvalidationReason } from "../../protocol/fallback/invalidation-reasons.js";

export interface Invalidation {
  readonly userId: string;
  readonly deviceId: string;
  /** The last six characters; see protocol/device.ts. */
  readonly tokenEnd: string;
  /** A bundle id, an appid, or a push service's host. */
  readonly topic: string;
  /** Of an iOS device. */
  readonly environment?: ApnsEnvironment;
  readonly reason: InvalidationReason;
  /** Since when the provider knows: a device registered at or after that time stays. */
  readonly providerTimestampMs?: number;
  /** As read before the send. If the provider gives no time, a device registered after this stays. */
  readonly registeredAtMs: number;
}

export interface DeviceInvalidationsOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly logger: Logger;
  /** `dropped`: the queue was full; the provider will tell again. */
  readonly onCounted?: (
    outcome: InvalidationOutcome | "dropped",
    reason: InvalidationReason,
    count: number,
  ) => void;
  /** How many may wait; further ones are dropped. */
  readonly maxWaiting?: number;
  /** Notes kept per partition. */
  readonly auditCap?: number;
  /** How long the first verdict lingers for others to join its batch. */
  readonly lingerMs?: number;
}

const MAX_WAITING = 50_000;
const LINGER_MS = 50;
export const DEFAULT_AUDIT_CAP = 10_000;
/** Entries per script call. */
const MAX_A_CALL = 200;
const BACKOFF = { baseMs: 50, capMs: 2_000 } as const;
const BACKOFF_LEAST_MS = 20;

export class DeviceInvalidations {
  readonly #options: DeviceInvalidationsOptions;
  readonly #queue: TurnBatcher<DeviceVerdict>;
  readonly #stopping = new AbortController();
  #waiting = 0;

  constructor(options: DeviceInvalidationsOptions) {
    this.#options = options;
    // Each retrying partition waits for this signal.
    setMaxListeners(0, this.#stopping.signal);
    this.#queue = new TurnBatcher({
      flush: (verdicts) => this.#flush(verdicts),
      maxInFlight: 1,
      maxItems: MAX_A_CALL * options.partitions.length,
      lingerMs: options.lingerMs ?? LINGER_MS,
    });
  }

  /** Removes the device if it was registered before the provider's timestamp. */
  forget(invalidation: Invalidation): void {
    const { providerTimestampMs, registeredAtMs } = invalidation;
    this.#add({ ...invalidation, what: "forget", beforeMs: providerTimestampMs ?? registeredAtMs + 1 });
  }

  /** Keeps the device, but sends nothing to it until this time. */
  quarantine(invalidation: Invalidation, untilMs: number): void {
    const { registeredAtMs } = invalidation;
    this.#add({
      ...invalidation,
      what: "quarantine",
      beforeMs: registeredAtMs + 1,
      quarantinedUntilMs: untilMs,
    });
  }

  /** Resolves once nothing waits. */
  drained(): Promise<void> {
    this.#queue.flush();
    return this.#queue.drained();
  }

  /** Tries once more to send what waits, then gives up. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.drained();
  }

  #add(verdict: DeviceVerdict): void {
    if (this.#waiting >= (this.#options.maxWaiting ?? MAX_WAITING)) {
      this.#options.onCounted?.("dropped", verdict.reason, 1);
      return;
    }
    this.#waiting++;
    this.#queue.add(verdict);
  }

  async #flush(verdicts: readonly DeviceVerdict[]): Promise<void> {
    const { partitions } = this.#options;
    const byPartition = partitions.map((): DeviceVerdict[] => []);
    for (const verdict of verdicts) {
      byPartition[partitionOfUser(verdict.userId, partitions.length)]?.push(verdict);
    }
    await Promise.all(
      partitions.map(async (keys, i) => {
        for (const slice of inSlices(byPartition[i] ?? [], MAX_A_CALL)) await this.#invalidate(keys, slice);
      }),
    );
    this.#waiting -= verdicts.length;
  }

  async #invalidate(keys: PartitionKeys, verdicts: readonly DeviceVerdict[]): Promise<void> {
    const { scripts, logger, auditCap = DEFAULT_AUDIT_CAP } = this.#options;
    const { partition } = keys;
    for (let attempt = 0; ; attempt++) {
      try {
        const counts = await invalidateDevices(scripts, keys, verdicts, auditCap);
        this.#report(partition, counts);
        return;
      } catch (error) {
        const isOver = this.#stopping.signal.aborted || !isConnectionError(error);
        logger.warn(
          { partition, count: verdicts.length, attempt, reason: describeError(error) },
          isOver ? "devices not invalidated: given up" : "devices not invalidated: trying again",
        );
        if (isOver) return;
      }
      await pause(BACKOFF_LEAST_MS + backoffMs(attempt, BACKOFF), this.#stopping.signal);
    }
  }

  #report(partition: number, counts: Awaited<ReturnType<typeof invalidateDevices>>): void {
    const { logger, onCounted } = this.#options;
    for (const { outcome, reason, count } of counts) {
      logger.info({ partition, outcome, reason, count }, "devices invalidated");
      onCounted?.(outcome, reason, count);
    }
  }
}
