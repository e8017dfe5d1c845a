// partitions/partition-lease, partitions/dispatcher-members -> here -> held-partition: takes this dispatcher's share of
// the partitions, keeps it, and gives it back.
// Guarantees: whatever is held here was leased by Redis, and the lease is valid by the monotonic clock. A planned stop
// frees it at once; a dead dispatcher's share is taken over when its leases end. No partition stays without an owner.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { leaveMembership, renewMembership } from "@petrel/shared/redis/partitions/dispatcher-members";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import {
  readPartitionOwners,
  releasePartition,
  renewPartition,
  takePartition,
} from "@petrel/shared/redis/partitions/partition-lease";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import { preferredMember } from "./fair-share.js";
import { HeldPartition } from "./held-partition.js";

export interface PartitionOwnerOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** Name and boot epoch: a restarted dispatcher is another one. */
  readonly dispatcherId: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
  readonly onLeaseLost: () => void;
}

/** How often members are read, so that a departure is noticed soon. */
const MAX_LOOK_EVERY_MS = 1_000;
/**
 * The interval while partitions of this share are still held elsewhere: all members look on the same tick, so waiting
 * for the next would be too late.
 */
const MISSING_LOOK_EVERY_MS = 100;
/** For how many leases a partition's preferred member may leave it alone before anyone takes it. */
const ORPHAN_AFTER_LEASES = 2;
/**
 * For how many leases it then stays there, unless the members change: a member that did not take it likely will not
 * next time.
 */
const ADOPTED_FOR_LEASES = 20;

export class PartitionOwner {
  readonly #options: PartitionOwnerOptions;
  readonly #held = new Map<number, HeldPartition>();
  readonly #adopted = new Map<number, { readonly from: string | undefined; readonly untilMs: number }>();
  readonly #orphanSinceMs = new Map<number, number>();
  readonly #releasing = new Map<number, Promise<void>>();
  readonly #listeners: (() => void)[] = [];
  readonly #lookEveryMs: number;
  readonly #loop: Loop;
  #members: readonly string[] = [];
  #memberUntilMs = Number.NEGATIVE_INFINITY;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #missingSinceMs: number | undefined;

  constructor(options: PartitionOwnerOptions) {
    this.#options = options;
    this.#lookEveryMs = Math.min(options.leaseMs / 3, MAX_LOOK_EVERY_MS);
    this.#loop = new Loop(async (signal) => {
      await this.#quietly("look", () => this.#look(signal));
      return this.#looksSoon ? MISSING_LOOK_EVERY_MS : this.#lookEveryMs;
    }, options.ticks);
  }

  /** The partitions that may be worked on now. */
  get open(): HeldPartition[] {
    return [...this.#held.values()].filter((held) => held.isOpen);
  }

  /** Whether the others count this dispatcher as alive. */
  get isMember(): boolean {
    return this.#options.clock.monotonicMs() < this.#memberUntilMs;
  }

  /** Calls back after a partition was taken. */
  onTaken(listener: () => void): void {
    this.#listeners.push(listener);
  }

  start(): void {
    this.#loop.start();
  }

  /** Finishes the steps in progress, then frees the partitions and leaves the members. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    for (const [partition, held] of this.#held) this.#giveBack(partition, held);
    await Promise.all(this.#releasing.values());
    await this.#quietly("leave", () =>
      leaveMembership(this.#options.scripts.redis, this.#options.dispatcherId),
    );
  }

  /** An owner script reported this lease as stale: stop, and take the partition anew if it is ours. */
  lose(held: HeldPartition, reason: string): void {
    held.lose();
    const { partition } = held.keys;
    if (this.#held.get(partition) !== held) return;
    this.#held.delete(partition);
    this.#adopted.delete(partition);
    this.#options.onLeaseLost();
    this.#options.logger.warn({ partition, fence: held.token, reason }, "partition lost");
  }

  /** A holder gives back at its next look; one that still holds on after a whole lease is not about to. */
  get #looksSoon(): boolean {
    const { clock, leaseMs } = this.#options;
    return this.#missingSinceMs !== undefined && clock.monotonicMs() - this.#missingSinceMs < leaseMs;
  }

  async #look(stopping: AbortSignal): Promise<void> {
    const { scripts, dispatcherId, leaseMs, clock } = this.#options;
    const startedAtMs = clock.monotonicMs();
    this.#dropEnded();
    // If this fails, the last known members still count: the leases may still be renewable.
    await this.#quietly("membership", async () => {
      this.#members = await renewMembership(scripts, dispatcherId, leaseMs);
      this.#memberUntilMs = startedAtMs + leaseMs;
    });
    const members = this.#members;
    // By the next look a third of the lease would be over.
    const renews = startedAtMs - this.#renewedAtMs + this.#lookEveryMs > leaseMs / 3;
    if (renews) {
      this.#renewedAtMs = startedAtMs;
      const renewAll = () => [...this.#held.values()].map((held) => this.#renew(held));
      await Promise.all(scripts.together(renewAll));
    }
    if (stopping.aborted) return;
    this.#releaseOthers(members);
    await this.#takeOwn(members);
    if (renews) await this.#adoptOrphans(members);
  }

  /** After the process was suspended, leases may be over: drop them before anything else. */
  #dropEnded(): void {
    for (const held of this.#held.values()) if (!held.isHeld) this.lose(held, "the lease ended here");
  }

  async #renew(held: HeldPartition): Promise<void> {
    const { scripts, dispatcherId, leaseMs, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    if (!held.isHeld) return this.lose(held, "the lease ended here");
    const lease = { holder: dispatcherId, token: held.token };
    await this.#quietly("renew", async () => {
      const result = await renewPartition(scripts, held.keys, lease, leaseMs);
      if (result.outcome === "other") return this.lose(held, `held by ${result.holder || "nobody"}`);
      held.extend({ endsAtMs: sentAtMs + leaseMs, serverUntilMs: result.untilMs });
    });
  }

  #releaseOthers(members: readonly string[]): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [partition, held] of this.#held) {
      const preferred = preferredMember(partition, members);
      if (preferred === this.#options.dispatcherId) {
        this.#adopted.delete(partition);
        continue;
      }
      const adopted = this.#adopted.get(partition);
      if (adopted !== undefined && adopted.from === preferred && nowMs < adopted.untilMs) continue;
      this.#giveBack(partition, held);
    }
  }

  #giveBack(partition: number, held: HeldPartition): void {
    const { scripts, dispatcherId, logger } = this.#options;
    this.#held.delete(partition);
    this.#adopted.delete(partition);
    const releasing = this.#quietly("release", async () => {
      await held.close();
      await releasePartition(scripts, held.keys, { holder: dispatcherId, token: held.token });
      logger.info({ partition, fence: held.token }, "partition given back");
    }).finally(() => this.#releasing.delete(partition));
    this.#releasing.set(partition, releasing);
  }

  async #takeOwn(members: readonly string[]): Promise<void> {
    const { partitions, dispatcherId } = this.#options;
    const missing = partitions.filter(
      ({ partition }) =>
        preferredMember(partition, members) === dispatcherId &&
        !this.#held.has(partition) &&
        !this.#releasing.has(partition),
    );
    const taken = await Promise.all(missing.map((keys) => this.#take(keys)));
    if (taken.every(Boolean)) this.#missingSinceMs = undefined;
    else this.#missingSinceMs ??= this.#options.clock.monotonicMs();
  }

  async #take(keys: PartitionKeys): Promise<boolean> {
    const { scripts, dispatcherId, leaseMs, clock, logger } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const result = await takePartition(scripts, keys, dispatcherId, leaseMs);
    if (result.outcome === "other") return false;
    const { token, untilMs } = result;
    const term = { endsAtMs: sentAtMs + leaseMs, serverUntilMs: untilMs };
    this.#held.set(keys.partition, new HeldPartition(keys, token, term, clock));
    this.#orphanSinceMs.delete(keys.partition);
    logger.info({ partition: keys.partition, fence: token }, "partition taken");
    for (const listener of this.#listeners) listener();
    return true;
  }

  /** A member may be alive but not do its work; its partitions must not wait for it. */
  async #adoptOrphans(members: readonly string[]): Promise<void> {
    const { scripts, partitions, leaseMs, clock } = this.#options;
    const others = partitions.filter(
      ({ partition }) => !this.#held.has(partition) && !this.#releasing.has(partition),
    );
    if (others.length === 0) return;
    const [owners, serverNowMs] = await Promise.all([
      readPartitionOwners(scripts.redis, others),
      readServerTimeMs(scripts.redis),
    ]);
    for (const [i, keys] of others.entries()) {
      const { partition } = keys;
      const nowMs = clock.monotonicMs();
      const untilMs = owners[i]?.untilMs ?? 0;
      if (untilMs > serverNowMs) {
        this.#orphanSinceMs.delete(partition);
        // Either Redis's clock was set back or that lease is longer; asking for the partition corrects the former.
        if (untilMs > serverNowMs + leaseMs) await this.#take(keys);
        continue;
      }
      const sinceMs = this.#orphanSinceMs.get(partition) ?? nowMs;
      this.#orphanSinceMs.set(partition, sinceMs);
      if (nowMs - sinceMs < ORPHAN_AFTER_LEASES * leaseMs) continue;
      const from = preferredMember(partition, members);
      if (await this.#take(keys)) {
        this.#adopted.set(partition, { from, untilMs: nowMs + ADOPTED_FOR_LEASES * leaseMs });
        this.#options.logger.warn(
          { partition, from },
          "partition taken over from a member that neglected it",
        );
      }
    }
  }

  /** A failed call is repeated at the next look; until then the lease's own end decides. */
  async #quietly(what: string, call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.#options.logger.warn({ what, reason: describeError(error) }, "partition call failed");
    }
  }
}
