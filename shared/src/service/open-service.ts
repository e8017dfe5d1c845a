// start-<service> <- here: the parts that every service has, opened from its configuration.
// Guarantees: parts close in reverse order of their opening; an invalid setting ends the start with one line.
import type { Clock } from "../kernel/clock.js";
import { CommonTicks } from "../kernel/common-tick.js";
import { clientOf, TrustedProxies } from "../kernel/http/client-address.js";
import type { HttpApp } from "../kernel/http/http-app.js";
import type { Lifecycle } from "../kernel/lifecycle/lifecycle.js";
import type { Logger } from "../kernel/logging/logging.js";
import type { CompiledSchemas } from "../kernel/schemas/compile-when-used.js";
import { AccessLog } from "../kernel/http/requests/access-log.js";
import { RequestWatch } from "../kernel/http/requests/watch-requests.js";
import { serveMetrics } from "../kernel/http/serve-metrics.js";
import { addCertificateGauges } from "../kernel/metrics/certificate-gauges.js";
import { createRegistry, Registry } from "../kernel/metrics/metrics.js";
import type { CertificateTimes } from "../kernel/tls/certificate-times.js";
import { openListenerTls, type TlsSettings } from "../kernel/tls/listener-tls.js";
import type { TlsFiles } from "../kernel/tls/tls-files.js";
import type { TracingSettings } from "../kernel/tracing/open-telemetry.js";
import { openTracing } from "../kernel/tracing/open-tracing.js";
import { SpanCounts } from "../kernel/tracing/span-counts.js";
import { NO_TRACING, type Tracing } from "../kernel/tracing/tracing.js";

/** The minimum configuration of a service; one that is never traced has no `tracing`. */
export type ServiceConfig = TlsSettings & {
  readonly host: string;
  readonly port: number;
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  readonly logLevel: string;
  readonly accessLogSample?: number;
  readonly trustedProxies?: readonly string[];
} & (TracingSettings | { readonly tracing?: undefined });

export interface ServiceProcess {
  /** Such as "collect". */
  readonly name: string;
  readonly version: string;
  /** Identifies this process among the service's processes. */
  readonly instance: string;
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  /** True if the service also answers `/metrics` on its own port. */
  readonly servesMetrics?: boolean;
  /** Of a process that opens services one after another. */
  readonly compiledSchemas?: CompiledSchemas;
}

export interface Service extends ServiceProcess {
  /** What may wait for it goes on with everything else that does. */
  readonly ticks: CommonTicks;
  /** The listener's certificate; undefined means plain HTTP. */
  readonly tls: TlsFiles | undefined;
  /** The watched certificates; the listeners' are included. */
  readonly certificates: CertificateTimes;
  readonly trustedProxies: TrustedProxies;
  /** Off unless the configuration says otherwise. */
  readonly tracing: Tracing;
  readonly metrics: Registry;
  /** Sees the requests of the application. */
  readonly requests: RequestWatch;
  /** False if nobody can read `metrics`; then costly measurements are skipped. */
  readonly isMeasured: boolean;
  /**
   * Opens the internal listener, and registers the application to close at the stop, after everything that registers
   * with the lifecycle later. Does not make the application itself listen.
   */
  attach(app: HttpApp): Promise<void>;
}

/** @throws ConfigError; a port that is in use only fails in `attach`, with the error of `listen` */
export async function openService(config: ServiceConfig, process: ServiceProcess): Promise<Service> {
  const { name, version, lifecycle } = process;
  const trustedProxies = readTrustedProxies(config);
  const isMeasured = config.metricsPort !== undefined || process.servesMetrics === true;
  // The default metrics would wake the process twice a second.
  const metrics = isMeasured ? createRegistry(name, version) : new Registry();
  const tracing = await openServiceTracing(config, metrics, process);
  const tls = await openListenerTls(config, process);
  const { certificates } = tls;
  addCertificateGauges(metrics, certificates);
  const requests = new RequestWatch(metrics, openAccessLog(config, process, trustedProxies));

  async function attach(app: HttpApp): Promise<void> {
    if (config.metricsPort !== undefined) {
      const server = await serveMetrics({
        registry: metrics,
        port: config.metricsPort,
        host: config.metricsHost,
        tls: tls.metrics,
        health: (path) => app.inject(path),
      });
      lifecycle.onStop("metrics", () => void server.close());
    }
    lifecycle.onStop("http", () => app.close());
  }

  return {
    ...process,
    ticks: new CommonTicks(),
    tls: tls.http,
    certificates,
    trustedProxies,
    tracing,
    metrics,
    requests,
    isMeasured,
    attach,
  };
}

function openAccessLog(
  { accessLogSample: sample = 0 }: ServiceConfig,
  { logger }: ServiceProcess,
  trustedProxies: TrustedProxies,
): AccessLog | undefined {
  if (sample === 0) return undefined;
  return new AccessLog({
    // Its fields are fixed and hold no secrets; searching them would cost more than the line itself.
    logger: logger.child({}, { redact: [] }),
    sample,
    addressOf: (request) => clientOf(request, trustedProxies),
  });
}

/** @throws ConfigError */
export function readTrustedProxies({ trustedProxies = [] }: ServiceConfig): TrustedProxies {
  return new TrustedProxies(trustedProxies);
}

async function openServiceTracing(
  config: ServiceConfig,
  metrics: Registry,
  { name, version, instance, logger, lifecycle }: ServiceProcess,
): Promise<Tracing> {
  if (config.tracing === undefined) return NO_TRACING;
  const counts = new SpanCounts();
  counts.register(metrics);
  return openTracing(config, { service: name, version, instance, counts, logger, lifecycle });
}
