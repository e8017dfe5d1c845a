// open-tracing -> here: with span-file the only file that knows OpenTelemetry; loaded only if tracing is on.
// Guarantees: spans wait in a bounded queue and leave in batches, off the request path. An exporter that fails or hangs
// costs only spans, and those are counted. No global is set.
import { ROOT_CONTEXT, SpanKind as Kind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import type { Span as OtelSpan, SpanContext } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import {
  formatTraceContext,
  parseTraceContext,
  type TraceContext,
} from "../../protocol/messages/trace-context.js";
import { describeError } from "../errors.js";
import type { Logger } from "../logging/logging.js";
import type { SpanCounts } from "./span-counts.js";
import type { Span, SpanAttributes, SpanKind, SpanStart, Tracing } from "./tracing.js";

export interface TracingSettings {
  readonly tracing: "off" | "otlp" | "file";
  readonly traceSampleRatio: number;
  readonly traceFile: string | undefined;
  readonly otlpEndpoint: string;
}

export interface TracingDeps {
  /** Such as "collect". */
  readonly service: string;
  readonly version: string;
  /** Which of the service's processes this is. */
  readonly instance: string;
  readonly counts: SpanCounts;
  readonly logger: Logger;
}

/** Spans waiting or being exported; about 2 MB. */
const MAX_QUEUED = 4_096;
const BATCH = 512;
const EXPORT_EVERY_MS = 1_000;
/** For one export, including its library's retries. */
const EXPORT_TIMEOUT_MS = 5_000;
/** `ExportResultCode.SUCCESS`; its package is only a transitive dependency. */
const EXPORTED = 0;
/** For the last export, at the stop. */
const STOP_TIMEOUT_MS = 3_000;

const kinds: Readonly<Record<SpanKind, Kind>> = {
  server: Kind.SERVER,
  producer: Kind.PRODUCER,
  consumer: Kind.CONSUMER,
  client: Kind.CLIENT,
  internal: Kind.INTERNAL,
};

/** @throws what `open` throws if the file cannot be written */
export async function startOpenTelemetry(
  settings: TracingSettings,
  { service, version, instance, counts, logger }: TracingDeps,
): Promise<{ readonly tracing: Tracing; readonly stop: () => Promise<void> }> {
  const ids = new ChosenIds();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      "service.namespace": "petrel",
      "service.name": `petrel-${service}`,
      "service.version": version,
      "service.instance.id": instance,
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(settings.traceSampleRatio) }),
    idGenerator: ids,
    spanProcessors: [boundedProcessor(await openExporter(settings), counts, logger)],
  });
  const tracer = provider.getTracer("petrel", version);

  const begin = (
    name: string,
    parent: TraceContext | undefined,
    { kind, attributes, startMs, spanId }: SpanStart,
  ): Span | undefined => {
    if (parent?.isSampled === false) return undefined;
    ids.next = spanId;
    const options = {
      kind: kinds[kind],
      attributes,
      ...(startMs === undefined ? {} : { startTime: new Date(startMs) }),
    };
    const context =
      parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remoteContext(parent));
    const span = tracer.startSpan(name, options, context);
    return span.isRecording() ? new RecordedSpan(span) : undefined;
  };
  return {
    tracing: {
      beginTrace: (name, traceparent, start) =>
        begin(name, parseTraceContext(typeof traceparent === "string" ? traceparent : undefined), start),
      beginSpan: (name, context, start) => {
        const parent = parseTraceContext(context);
        return parent === undefined ? undefined : begin(name, parent, start);
      },
    },
    stop: () => endWithin(provider.shutdown(), STOP_TIMEOUT_MS, logger),
  };
}

async function openExporter({
  tracing,
  traceFile = "",
  otlpEndpoint,
}: TracingSettings): Promise<SpanExporter> {
  if (tracing === "file") {
    const { openSpanFile } = await import("./span-file.js");
    return openSpanFile(traceFile);
  }
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-http");
  return new OTLPTraceExporter({
    url: `${otlpEndpoint.replace(/\/$/, "")}/v1/traces`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  });
}

/** Counts what the library's own queue would silently drop. */
function boundedProcessor(exporter: SpanExporter, counts: SpanCounts, logger: Logger): SpanProcessor {
  let queued = 0;
  let isFailing = false;
  const inner = new BatchSpanProcessor({
    maxQueueSize: MAX_QUEUED,
    maxExportBatchSize: BATCH,
    scheduledDelayMillis: EXPORT_EVERY_MS,
    exportTimeoutMillis: 2 * EXPORT_TIMEOUT_MS,
    exporter: {
      export: (spans, done) =>
        exporter.export(spans, (result) => {
          queued -= spans.length;
          const code: number = result.code;
          const hasFailed = code !== EXPORTED;
          if (hasFailed) counts.dropped += spans.length;
          else counts.exported += spans.length;
          // Logged when it begins and when it is over; the counter shows the rest.
          if (hasFailed && !isFailing) {
            logger.warn(
              { reason: describeError(result.error) },
              "spans not exported: dropping them until the collector answers again",
            );
          } else if (!hasFailed && isFailing) logger.info("spans are exported again");
          isFailing = hasFailed;
          done(result);
        }),
      shutdown: () => exporter.shutdown(),
    },
  });
  return {
    onStart: (span, context) => inner.onStart(span, context),
    onEnd: (span) => {
      if (queued >= MAX_QUEUED) {
        counts.dropped++;
        return;
      }
      queued++;
      inner.onEnd(span);
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
  };
}

/** Never rejects and never takes longer: spans not exported by then are lost. */
async function endWithin(ended: Promise<void>, timeoutMs: number, logger: Logger): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([ended, tooLate]);
  } catch (error) {
    logger.warn({ reason: describeError(error) }, "the last spans were not exported");
  } finally {
    clearTimeout(timer);
  }
}

class RecordedSpan implements Span {
  readonly traceId: string;
  readonly context: string;
  readonly #span: OtelSpan;

  constructor(span: OtelSpan) {
    const { traceId, spanId } = span.spanContext();
    this.traceId = traceId;
    this.context = formatTraceContext(traceId, spanId);
    this.#span = span;
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(attributes);
  }

  fail(problem: string): void {
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: problem });
  }

  end(): void {
    this.#span.end();
  }
}

/** Random ids, unless the caller chose the span's: the tracer asks for the id first thing in `startSpan`. */
class ChosenIds implements IdGenerator {
  next: string | undefined;
  readonly #random = new RandomIdGenerator();

  generateTraceId(): string {
    return this.#random.generateTraceId();
  }

  generateSpanId(): string {
    const { next } = this;
    this.next = undefined;
    return next ?? this.#random.generateSpanId();
  }
}

function remoteContext({ traceId, spanId }: TraceContext): SpanContext {
  return { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
}
