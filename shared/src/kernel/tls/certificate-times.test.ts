// Tests the reported expiry of certificates.
// Guarantees: one line when one is due and one when it has expired, however often it is checked; the gauge follows what
// is in use.
import { Registry } from "prom-client";
import { beforeEach, expect, test } from "vitest";
import { makeAuthority } from "../../testing/tls/make-authority.js";
import { addCertificateGauges } from "../metrics/certificate-gauges.js";
import { CertificateTimes } from "./certificate-times.js";
import type { Clock } from "../clock.js";

const DAY_MS = 86_400_000;
// Certificates count in seconds.
const startMs = Math.floor(Date.now() / 1_000) * 1_000;
const authority = makeAuthority("authority", { fromMs: startMs, untilMs: startMs + 1_000 * DAY_MS });
const chainOf = (name: string, days: number): string =>
  authority.issue(name, { fromMs: startMs, untilMs: startMs + days * DAY_MS }).cert;

let nowMs: number;
let said: string[];
let times: CertificateTimes;
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };

beforeEach(() => {
  nowMs = startMs;
  said = [];
  times = new CertificateTimes({
    logger: {
      warn: ({ use, subject }: { use: string; subject?: string }, text: string) =>
        void said.push(`${use} ${subject}: ${text}`),
    } as never,
    dueMs: 14 * DAY_MS,
    clock,
  });
  return () => times.stop();
});

function lookFor(days: number): void {
  for (let hour = 0; hour <= days * 24; hour++) {
    times.look();
    nowMs += DAY_MS / 24;
  }
}

test("reports an expiring one when it is due and when it has expired, once each", () => {
  const chain = chainOf("shop", 90);
  times.watch({ use: "listener", kind: "chain", read: () => chain });
  lookFor(75);
  expect(said).toEqual([]);
  lookFor(2);
  expect(said).toEqual(["listener CN=shop: tls: a certificate expires soon"]);
  lookFor(200);
  expect(said).toEqual([
    "listener CN=shop: tls: a certificate expires soon",
    "listener CN=shop: tls: a certificate has expired",
  ]);
});

test("a short-lived one is due in its last quarter; its successor counts separately", () => {
  let chain = chainOf("first", 4);
  times.watch({ use: "redis_client", kind: "chain", read: () => chain });
  lookFor(2.9);
  expect(said).toEqual([]);
  lookFor(0.2);
  expect(said).toEqual(["redis_client CN=first: tls: a certificate expires soon"]);
  chain = chainOf("second", 8);
  lookFor(2);
  expect(said).toHaveLength(1);
  lookFor(2);
  expect(said.slice(1)).toEqual(["redis_client CN=second: tls: a certificate expires soon"]);
});

test("a chain expires with its first certificate, authorities with their last; the gauge says when", async () => {
  const short = makeAuthority("short", { fromMs: startMs, untilMs: startMs + 10 * DAY_MS }).cert;
  let own: string | undefined = chainOf("own", 100) + short;
  times.watch(
    { use: "listener", kind: "chain", read: () => own },
    { use: "redis_ca", kind: "authorities", read: () => authority.cert + short },
    { use: "none", kind: "chain", read: () => undefined },
  );
  const registry = new Registry();
  addCertificateGauges(registry, times);
  const gauge = async (name: string): Promise<Record<string, number>> => {
    const found = (await registry.getMetricsAsJSON()).find((metric) => metric.name === name);
    const values = (found?.values ?? []) as { labels: { use?: string }; value: number }[];
    return Object.fromEntries(values.map(({ labels, value }) => [labels.use, value]));
  };
  const inDays = (days: number): number => (startMs + days * DAY_MS) / 1_000;
  // In either order: each is read on its own.
  expect(await gauge("petrel_certificate_due_seconds")).toMatchObject({ listener: inDays(7.5) });
  expect(await gauge("petrel_certificate_expires_seconds")).toEqual({
    listener: inDays(10),
    redis_ca: inDays(1_000),
  });
  expect(await gauge("petrel_certificate_due_seconds")).toEqual({
    listener: inDays(7.5),
    redis_ca: inDays(986),
  });
  own = chainOf("own", 100);
  expect(await gauge("petrel_certificate_expires_seconds")).toMatchObject({ listener: inDays(100) });
});

test("reports text without a certificate, which has no time", async () => {
  times.watch({ use: "redis_ca", kind: "authorities", read: () => "no certificate" });
  expect(said).toEqual(["redis_ca undefined: tls: a certificate cannot be read"]);
});
