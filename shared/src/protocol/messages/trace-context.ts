// A producer's header -> here -> with the message, hop by hop: which trace it belongs to, and whose child comes next.
// Guarantees: read strictly; what is not a trace context is none, and changes nothing else.

/** Of the trace and of the span that the next one is a child of: lower-case hex, 32 and 16 digits. */
export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  /** Whether whoever began the trace wants it recorded. */
  readonly isSampled: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const SAMPLED = 1;

/**
 * The value of a `traceparent` header, https://www.w3.org/TR/trace-context/#traceparent-header-field-values
 * @returns undefined for anything else; a version above 00 is read as far as it is known
 */
export function parseTraceContext(text: string | undefined): TraceContext | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] = FORM.exec(text ?? "") ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}

/** The same form, 55 characters: only what is sampled is ever passed on. scripts/includes/trace-of knows it. */
export function formatTraceContext(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`;
}
