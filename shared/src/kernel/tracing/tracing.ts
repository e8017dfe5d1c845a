// The port of tracing: what services record of a message's way; kernel/open-tracing opens what stands behind it.
// Guarantees: where tracing is off, or a message is not sampled, there is no span and nothing to pay but the question.
import { createHash } from "node:crypto";
import { formatTraceContext, parseTraceContext } from "../../protocol/messages/trace-context.js";

/** As in https://opentelemetry.io/docs/concepts/signals/traces/#span-kind */
export type SpanKind = "server" | "producer" | "consumer" | "client" | "internal";

/** Never a payload, a credential, or anything that names a person: user ids and device tokens are not for traces. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** One step of a sampled message's way. */
export interface Span {
  readonly traceId: string;
  /** What the next hop gets, see protocol/trace-context: its spans are children of this one. */
  readonly context: string;
  set(attributes: SpanAttributes): void;
  /** What went wrong: the span's status. */
  fail(problem: string): void;
  end(): void;
}

export interface SpanStart {
  readonly kind: SpanKind;
  readonly attributes: SpanAttributes;
  /** When it began, where that was before now; ms since 1970, by this machine's clock. */
  readonly startMs?: number;
  /** Where another process must know it without being told, see `derivedContext`. */
  readonly spanId?: string;
}

export interface Tracing {
  /**
   * The first span of a request.
   * @param traceparent the header; what is not one begins a new trace, as none does
   * @returns undefined where the trace is not sampled
   */
  readonly beginTrace: (name: string, traceparent: unknown, start: SpanStart) => Span | undefined;
  /**
   * A child.
   * @param context its parent's; undefined where there is none, and then no span either
   */
  readonly beginSpan: (name: string, context: string | undefined, start: SpanStart) => Span | undefined;
}

export const NO_TRACING: Tracing = Object.freeze({
  beginTrace: () => undefined,
  beginSpan: () => undefined,
});

/** What spans say of a message, by OpenTelemetry's names where it has one. */
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
 * The context of a span whose id follows from its parent and a name: whoever knows both knows it, so that it need not be
 * handed over.
 * @returns undefined where `context` is none
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

/** For a log line: nothing where the message is not sampled. */
export function traceIdOf(context: string | undefined): { readonly traceId?: string } {
  const traceId = parseTraceContext(context)?.traceId;
  return traceId === undefined ? {} : { traceId };
}

/** For a log line of several messages. */
export function traceIdsOf(messages: readonly { readonly trace?: string | undefined }[]): {
  readonly traceIds?: readonly string[];
} {
  const traceIds = [...new Set(messages.flatMap(({ trace }) => traceIdOf(trace).traceId ?? []))];
  return traceIds.length === 0 ? {} : { traceIds };
}
