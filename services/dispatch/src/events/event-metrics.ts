// watch-online, trim-partitions -> here: what a dispatcher measures of events in its share.
// Guarantees: counters only grow; partitions that it no longer owns are not reported.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { TrimmedEvents } from "@petrel/shared/redis/events/trim-events";

export interface EventMetrics {
  readonly wentOffline: (users: number) => void;
  readonly trimmed: (partition: number, result: TrimmedEvents) => void;
}

/** @param owned numbers of the partitions that this dispatcher owns */
export function createEventMetrics(registry: Registry, owned: () => readonly number[]): EventMetrics {
  const last = new Map<number, TrimmedEvents>();
  const offline = new Counter({
    name: "petrel_dispatch_users_offline_total",
    help: "Users found to be offline, if EVENTS lists that event",
    registers: [registry],
  });
  const dropped = new Counter({
    name: "petrel_dispatch_events_dropped_total",
    help: "Events dropped because they were older than EVENTS_HOURS",
    registers: [registry],
  });
  const ofOwned = (): TrimmedEvents[] => owned().flatMap((partition) => last.get(partition) ?? []);
  registry.registerMetric(
    new Gauge({
      name: "petrel_dispatch_events_kept",
      help: "Events kept in the partitions owned here, checked every minute",
      registers: [],
      collect() {
        this.set(ofOwned().reduce((sum, { kept }) => sum + kept, 0));
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "petrel_dispatch_oldest_event_seconds",
      help: "Age of the oldest kept event; well below EVENTS_HOURS if EVENTS_CAP drops events first",
      registers: [],
      collect() {
        this.set(Math.max(0, ...ofOwned().map(({ oldestAgeMs }) => oldestAgeMs)) / 1_000);
      },
    }),
  );
  return {
    wentOffline: (users) => offline.inc(users),
    trimmed: (partition, result) => {
      last.set(partition, result);
      dropped.inc(result.dropped);
    },
  };
}
