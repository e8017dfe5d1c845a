// The port of tracing: what services record of a message's way; kernel/open-tracing provides the implementation.
// Guarantees: if tracing is off, or a message is not sampled, there is no span, and the check is the only cost.
import { createHash } from "node:crypto";
import { formatTraceContext, parseTraceContext } from "../../protocol/messages/trace-context.js";

/** As in https://opentelemetry.io/docs/concepts/signals/traces/#span-kind */
export type SpanKind = "server" | "producer" | "consumer" | "client" | "internal";

/** Never a payload, a credential or anything that names a person: user ids and device tokens stay out of traces. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** One step on a sampled message's way. */
export interface Span {
  readonly traceId: string;
  /** What to pass to the next hop, see protocol/trace-context: its spans become children of this one. */
  readonly context: string;
  set(attributes: SpanAttributes): void;
  /** Sets the span's status to this error. */
  fail(problem: string): void;
  end(): void;
}

export interface SpanStart {
  readonly kind: SpanKind;
  readonly attributes: SpanAttributes;
  /** When it began, if before now; ms since 1970, by this machine's clock. */
  readonly startMs?: number;
  /** Set this if another process must be able to compute it, see `derivedContext`. */
  readonly spanId?: string;
}

export interface Tracing {
  /**
   * The first span of a request.
   * @param traceparent the header; a missing or invalid one begins a new trace
   * @returns undefined if the trace is not sampled
   */
  readonly beginTrace: (name: string, traceparent: unknown, start: SpanStart) => Span | undefined;
  /**
   * A child span.
   * @param context its parent's; undefined if there is none, and then there is no child either
   */
  readonly beginSpan: (name: string, context: string | undefined, start: SpanStart) => Span | undefined;
}

export const NO_TRACING: Tracing = Object.freeze({
  beginTrace: () => undefined,
  beginSpan: () => undefined,
});

/** A message's span attributes, under OpenTelemetry's names where they exist. */
export function messageAttributes(message: {
  readonly id: string;
  readonly partition: number;
  readonly seq?: number;
  readonly priority?: string;
}): SpanAttributes {
  return {
    "messaging.system": "petrel",
    "messaging.message.id": message.id,
    "messaging.destination.partition.id": String(message.partition),
    "petrel.seq": message.seq,
    "petrel.priority": message.priority,
  };
}

/**
 * The context of a span whose id is derived from its parent and a name, so that another process can compute it without
 * being told.
 * @returns undefined if `context` is invalid
 */
export function derivedContext(
  context: string | undefined,
  name: string,
): { readonly spanId: string; readonly context: string } | undefined {
  const parent = parseTraceContext(context);
  if (parent === undefined) return undefined;
  const hash = createHash("sha256").update(`${parent.traceId}\t${parent.spanId}\t${name}`).digest("hex");
  const spanId = hash.slice(0, 16);
  return { spanId, context: formatTraceContext(parent.traceId, spanId) };
}

/** A log line's field: empty if the message is not sampled. */
export function traceIdOf(context: string | undefined): { readonly traceId?: string } {
  const traceId = parseTraceContext(context)?.traceId;
  return traceId === undefined ? {} : { traceId };
}

/** The same, for a log line about several messages. */
export function traceIdsOf(messages: readonly { readonly trace?: string | undefined }[]): {
  readonly traceIds?: readonly string[];
} {
  const traceIds = [...new Set(messages.flatMap(({ trace }) => traceIdOf(trace).traceId ?? []))];
  return traceIds.length === 0 ? {} : { traceIds };
}
