// A producer's header -> here -> with the message, hop by hop: its trace, and the parent of its next span.
// Guarantees: parsed strictly. An invalid trace context counts as none and affects nothing else.

/** A trace and the next span's parent, in lower-case hex: 32 and 16 digits. */
export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  /** Whether the trace's originator wants it recorded. */
  readonly isSampled: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const SAMPLED = 1;

/**
 * The value of a `traceparent` header, https://www.w3.org/TR/trace-context/#traceparent-header-field-values
 * @returns undefined for anything else; of a version above 00, the known part is read
 */
export function parseTraceContext(text: string | undefined): TraceContext | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] = FORM.exec(text ?? "") ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}

/**
 * The same form, 55 characters. Only sampled contexts are passed on; scripts/includes/messages/trace-of relies on it.
 */
export function formatTraceContext(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`;
}
