// webhooks/deliver-webhooks -> here: what a dispatcher measures of the webhooks that it delivers.
// Guarantees: counters only grow; values from Redis are read at the scrape, and are bounded.
import { DurationHistogram } from "@petrel/shared/kernel/metrics/duration-histogram";
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { type SealedBy, sealedByWhich } from "@petrel/shared/security/encrypt-at-rest";
import { type AttemptOutcome, attemptOutcomes } from "./post-signed.js";

export interface WebhookMetrics {
  readonly attempted: (outcome: AttemptOutcome, durationMs: number, events: number) => void;
}

const DURATION_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15];

export function createWebhookMetrics(registry: Registry): WebhookMetrics {
  const attempts = new Counter({
    name: "petrel_webhook_attempts_total",
    help: "Requests to webhooks, by outcome",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const events = new Counter({
    name: "petrel_webhook_events_total",
    help: "Events that webhooks accepted",
    registers: [registry],
  });
  const duration = new DurationHistogram<never>(registry, {
    name: "petrel_webhook_attempt_seconds",
    help: "How long a webhook took to answer or fail",
    bounds: DURATION_SECONDS,
  }).series({});
  for (const outcome of attemptOutcomes) attempts.inc({ outcome }, 0);
  return {
    attempted: (outcome, durationMs, count) => {
      attempts.inc({ outcome });
      duration.observe(durationMs / 1_000);
      if (outcome === "delivered") events.inc(count);
    },
  };
}

/** For one webhook, over the partitions owned here. */
export interface WebhookReading {
  readonly id: string;
  readonly lagSeconds: number;
  readonly lagEvents: number;
  readonly isOpen: boolean;
}

export interface WebhookGauges {
  readonly read: () => Promise<readonly WebhookReading[]>;
  /** The number of secrets, by the key that sealed them. */
  readonly sealed: () => Readonly<Record<SealedBy, number>>;
  /** All paused webhooks, even if no partition is owned here. */
  readonly paused: () => readonly { readonly id: string; readonly reason: string }[];
}

export function addWebhookGauges(registry: Registry, { read, sealed, paused }: WebhookGauges): void {
  let underWay: Promise<readonly WebhookReading[]> | undefined;
  const readOnce = (): Promise<readonly WebhookReading[]> => {
    underWay ??= read().finally(() => (underWay = undefined));
    return underWay;
  };
  for (const [name, help, valueOf] of gauges) {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ["webhook"],
        registers: [],
        async collect() {
          const readings = await readOnce();
          this.reset();
          for (const reading of readings) this.set({ webhook: reading.id }, valueOf(reading));
        },
      }),
    );
  }
  registry.registerMetric(
    new Gauge({
      name: "petrel_sealed_secrets",
      help: "Secrets in Redis, by the encryption key that sealed them: the first, another of ours, or an unknown one",
      labelNames: ["kind", "by"],
      registers: [],
      collect() {
        const counts = sealed();
        for (const by of sealedByWhich) this.set({ kind: "webhook_secret", by }, counts[by]);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "petrel_webhook_paused",
      help: "1 for each webhook that is paused; the reason is `operator`, `exhausted` or `gone`",
      labelNames: ["webhook", "reason"],
      registers: [],
      collect() {
        this.reset();
        for (const { id, reason } of paused()) this.set({ webhook: id, reason }, 1);
      },
    }),
  );
}

const gauges: readonly (readonly [string, string, (reading: WebhookReading) => number])[] = [
  [
    "petrel_webhook_lag_seconds",
    "Age of the oldest event that a webhook has not accepted, in the partitions owned here; 0 if there is none",
    ({ lagSeconds }) => lagSeconds,
  ],
  [
    "petrel_webhook_lag_events",
    "Events, of all types, after the webhook's position, in the partitions owned here; at most 1,000 per partition",
    ({ lagEvents }) => lagEvents,
  ],
  [
    "petrel_webhook_breaker_open",
    "1 while a webhook has failed several times in a row and is only probed",
    ({ isOpen }) => Number(isOpen),
  ],
];
