// open-telemetry -> here: spans in a file, one JSON line each.
// Guarantees: several processes may append to one file; a failed write loses its spans and nothing else.
import { open } from "node:fs/promises";
import { type HrTime, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";

/** @throws what `open` throws */
export async function openSpanFile(path: string): Promise<SpanExporter> {
  const file = await open(path, "a", 0o600);
  const append = async (
    spans: readonly ReadableSpan[],
    done: Parameters<SpanExporter["export"]>[1],
  ): Promise<void> => {
    try {
      // One write for all of them: appends to a local file never interleave.
      await file.appendFile(spans.map((span) => `${JSON.stringify(describeSpan(span))}\n`).join(""));
    } catch (error) {
      done({ code: 1, error: error instanceof Error ? error : new Error(String(error)) });
      return;
    }
    done({ code: 0 });
  };
  return {
    export: (spans, done) => void append(spans, done),
    shutdown: () => file.close(),
  };
}

function describeSpan(span: ReadableSpan): object {
  const { traceId, spanId } = span.spanContext();
  const { code, message } = span.status;
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: SpanKind[span.kind].toLowerCase(),
    service: span.resource.attributes["service.name"],
    instance: span.resource.attributes["service.instance.id"],
    startTime: new Date(millisecondsOf(span.startTime)).toISOString(),
    durationMs: millisecondsOf(span.duration),
    status: SpanStatusCode[code].toLowerCase(),
    problem: message,
    attributes: span.attributes,
  };
}

function millisecondsOf([seconds, nanoseconds]: HrTime): number {
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
