// start-<service> <- here: a service's connections to Redis, checked and measured.
// Guarantees: the server is checked before the first script runs; every connection closes at the stop.
import { checkServer } from "../redis/connection/check-server.js";
import { gatherWrites } from "./gather-writes.js";
import { connectRedis, type ConnectOptions, type Redis } from "../redis/connection/connect.js";
import { RedisMetrics } from "../redis/connection/redis-metrics.js";
import type { RedisTarget } from "../redis/connection/redis-target.js";
import { allPartitionKeys, type PartitionKeys } from "../redis/keys.js";
import type { EventWriting } from "../redis/scripts/event-writing.js";
import { readScripts } from "../redis/scripts/script-catalogue.js";
import { ScriptRunner } from "../redis/scripts/script-runner.js";
import type { Service } from "./open-service.js";

export interface RedisSettings {
  readonly target: RedisTarget;
  readonly partitions: number;
  /** Which events this process's scripts write; none by default. */
  readonly events?: EventWriting;
}

export interface LinkOptions extends Pick<ConnectOptions, "commandTimeoutMs" | "silenceTimeoutMs"> {
  /** Identifies the connection in CLIENT LIST and in logs; the service's name by default. */
  readonly role?: string;
  /** What the connection is for, as a metrics label: a fixed word, used once. */
  readonly link: string;
  /** True for a connection with blocking reads, where durations mean nothing. */
  readonly isUnmeasured?: boolean;
  /** True for a link of unhurried calls: those of a turn leave in one write. */
  readonly gathersWrites?: boolean;
  /** `quit` waits for pending answers. */
  readonly atStop?: "disconnect" | "quit";
}

export interface ServiceRedis {
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  /** All of them, by number. */
  readonly partitions: readonly PartitionKeys[];
  /** Opens another connection to the same Redis. */
  readonly openLink: (options: LinkOptions) => Promise<Redis>;
}

/**
 * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, or is configured such that it cannot keep Petrel's
 * guarantees
 */
export async function openServiceRedis(
  { name, logger, lifecycle, metrics, isMeasured, certificates }: Service,
  { target, partitions, events }: RedisSettings,
  options: LinkOptions,
): Promise<ServiceRedis> {
  certificates.watch(...target.access.watched(logger));
  const measurements = isMeasured ? new RedisMetrics(metrics, partitions) : undefined;

  async function openLink({
    role = name,
    link,
    isUnmeasured,
    gathersWrites,
    atStop,
    ...timeouts
  }: LinkOptions): Promise<Redis> {
    const redis = await connectRedis({ target, role, logger, ...timeouts });
    lifecycle.onStop(`redis ${link}`, () => {
      if (atStop === "quit") void redis.quit().catch(() => redis.disconnect());
      else redis.disconnect();
    });
    if (gathersWrites === true) gatherWrites(redis);
    if (isUnmeasured === true) measurements?.watchLink(redis, link);
    else measurements?.watch(redis, link);
    return redis;
  }

  const redis = await openLink(options);
  await checkServer(redis, partitions);
  return {
    redis,
    scripts: new ScriptRunner(redis, readScripts(), events),
    partitions: allPartitionKeys(partitions),
    openLink,
  };
}
