// read-ready -> here -> route-messages, offer/offer-unreached, accept/trim-ready.lua: the hand-over loop for the
// partitions owned here.
// Guarantees: one batch per partition at a time, in order. An entry leaves `ready` only by the fenced trim, after it
// was published. A failed batch is retried with backoff, from the same place. On a cluster, a slow or absent master
// delays only its own partitions.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause, settledOr } from "@petrel/shared/kernel/pause";
import { traceIdsOf, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { isCluster } from "@petrel/shared/redis/connection/cluster-nodes";
import { trimReady } from "@petrel/shared/redis/accept/ready-stream";
import { isolateRefused } from "@petrel/shared/redis/scripts/isolate-refused";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ReadyMessage } from "@petrel/shared/protocol/messages/stored-message";
import type { HandOverMetrics } from "./hand-over-metrics.js";
import type { HeldPartition } from "../own/held-partition.js";
import { offerUnreached, type Offers, type UnreachedUser } from "../offer/offer-unreached.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { MAX_BLOCK_MS, type ReadyBatch, type ReadyReader } from "./read-ready.js";
import { routeMessages, type RoutedMessages } from "./route-messages.js";

export interface DispatcherOptions {
  readonly scripts: ScriptRunner;
  readonly owner: PartitionOwner;
  readonly reader: ReadyReader;
  readonly metrics: HandOverMetrics;
  readonly offers: Offers;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  readonly tracing: Tracing;
}

interface Failure {
  readonly attempts: number;
  readonly retryAtMs: number;
}

const BACKOFF = { baseMs: 50, capMs: 2_000 } as const;
const MIN_WAIT_MS = 10;
/** On a cluster: how long the partitions of a round wait for the slowest. */
const STRAGGLER_MS = 20;

export class PartitionDispatcher {
  readonly #options: DispatcherOptions;
  readonly #stopping = new AbortController();
  readonly #failures = new WeakMap<HeldPartition, Failure>();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();
  #wakeUp = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    options.owner.onTaken(() => this.#interrupt());
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves once the batches in progress are trimmed. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#interrupt();
    await this.#running;
    await Promise.all(this.#underWay.values());
  }

  #interrupt(): void {
    this.#wakeUp.abort();
    this.#options.reader.interrupt();
  }

  async #run(): Promise<void> {
    const { owner, reader, logger } = this.#options;
    let readFailures = 0;
    while (!this.#stopping.signal.aborted) {
      this.#wakeUp = new AbortController();
      const open = owner.open;
      const due = open.filter((held) => !this.#underWay.has(held) && this.#waitOf(held) <= 0);
      const waitMs = Math.min(MAX_BLOCK_MS, ...open.map((held) => this.#waitOf(held)).filter((ms) => ms > 0));
      if (due.length === 0) {
        await pause(Math.max(waitMs, MIN_WAIT_MS), this.#wakeUp.signal);
        continue;
      }
      try {
        const batches = await reader.read(due, waitMs);
        readFailures = 0;
        // All partitions' calls of a round share the connection, and so each other's round trips.
        await this.#handOverAll(batches);
      } catch (error) {
        logger.warn({ reason: describeError(error) }, "ready streams not read");
        await pause(MIN_WAIT_MS + backoffMs(readFailures++, BACKOFF), this.#stopping.signal);
      }
    }
  }

  /**
   * On a cluster, a batch that takes longer than the others continues beside the next rounds: its master may be down.
   */
  async #handOverAll(batches: readonly ReadyBatch[]): Promise<void> {
    const mayGoOn = isCluster(this.#options.scripts.redis);
    for (const batch of batches) {
      this.#underWay.set(batch.held, this.#handOverOne(batch, mayGoOn));
    }
    if (mayGoOn) await settledOr(this.#underWay.values(), STRAGGLER_MS);
    else await Promise.all(this.#underWay.values());
  }

  async #handOverOne(batch: ReadyBatch, mayGoOn: boolean): Promise<void> {
    await this.#handOver(batch);
    this.#underWay.delete(batch.held);
    // End the wait for the other partitions' messages, so that this one is read again.
    if (mayGoOn) this.#interrupt();
  }

  /** Milliseconds until this partition may be retried. */
  #waitOf(held: HeldPartition): number {
    const failure = this.#failures.get(held);
    return failure === undefined ? 0 : failure.retryAtMs - this.#options.clock.monotonicMs();
  }

  async #handOver({ held, entries }: ReadyBatch): Promise<void> {
    const { clock, logger } = this.#options;
    try {
      await held.runStep(() => this.#handOverBatch({ held, entries }));
      this.#failures.delete(held);
    } catch (error) {
      const attempts = (this.#failures.get(held)?.attempts ?? 0) + 1;
      const retryAtMs = clock.monotonicMs() + MIN_WAIT_MS + backoffMs(attempts, BACKOFF);
      this.#failures.set(held, { attempts, retryAtMs });
      const { partition } = held.keys;
      logger.warn({ partition, attempts, reason: describeError(error) }, "hand-over failed: trying again");
    }
  }

  async #handOverBatch({ held, entries }: ReadyBatch): Promise<void> {
    const { scripts, owner, metrics, offers } = this.#options;
    const lastId = entries.at(-1)?.id;
    if (lastId === undefined) return;
    const messages = entries.map(({ message }) => message);
    const routed = await this.#route(held, messages);
    if (routed === undefined || !held.isHeld) return owner.lose(held, "the lease ended during a hand-over");
    // After a crash between publish and trim, the batch is just handed over again.
    const unreached = findUnreached(routed);
    if (unreached.length > 0 && !(await offerUnreached(offers, held, unreached))) {
      return owner.lose(held, "the offer was refused");
    }
    const trimmed = await trimReady(scripts, held.keys, held.token, lastId);
    if (trimmed === "stale") return owner.lose(held, "the trim was refused");
    metrics.batch();
    metrics.messages("handed-over", routed.handedOver.length);
    metrics.messages("offline", routed.offline.length);
    metrics.messages("unheard", routed.unheard.length);
    metrics.messages("expired", routed.expired.length);
    metrics.messages("skipped", messages.length - countRouted(routed));
  }

  /** Like `routeMessages`, but one user's broken keys do not block other users' messages. */
  async #route(held: HeldPartition, messages: readonly ReadyMessage[]): Promise<RoutedMessages | undefined> {
    const { scripts, logger, tracing } = this.#options;
    const routed = await isolateRefused(
      messages,
      (some) => routeMessages(scripts, held, some, tracing),
      (ofUser, error) => {
        // They stay in the inbox, where `due` and the user's next connection find them.
        logger.error(
          {
            user: ofUser[0]?.userId,
            ids: ofUser.map(({ id }) => id),
            ...traceIdsOf(ofUser),
            reason: describeError(error),
          },
          "message not handed over",
        );
      },
      (all) => groupBy(all, ({ userId }) => userId).values(),
    );
    if (routed === undefined) return undefined;
    return routed.length === 1 ? routed[0] : joinRouted(routed);
  }
}

function joinRouted(routed: readonly RoutedMessages[]): RoutedMessages {
  return {
    handedOver: routed.flatMap(({ handedOver }) => handedOver),
    offline: routed.flatMap(({ offline }) => offline),
    unheard: routed.flatMap(({ unheard }) => unheard),
    expired: routed.flatMap(({ expired }) => expired),
    nodesOf: new Map(routed.flatMap(({ nodesOf }) => [...nodesOf])),
  };
}

function countRouted({ handedOver, offline, unheard, expired }: RoutedMessages): number {
  return handedOver.length + offline.length + unheard.length + expired.length;
}

/** The unreached users with a message for the fallback; for the others `due` is enough. */
function findUnreached({ offline, unheard, nodesOf }: RoutedMessages): UnreachedUser[] {
  const users = new Set<string>();
  for (const { userId, fallback, notification } of [...offline, ...unheard]) {
    if (fallback === "offline" && notification !== "") users.add(userId);
  }
  return [...users].map((userId) => ({ userId, nodes: nodesOf.get(userId) ?? [] }));
}
