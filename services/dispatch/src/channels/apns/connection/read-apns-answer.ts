// apns-stream -> here -> judge-apns-answer: the head and body of Apple's answer, as an ApnsAnswer.
// Guarantees: never fails; what cannot be read is undefined, and then the status alone counts.
import type { IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { parseRetryAfterMs } from "../../parse-retry-after.js";
import type { ApnsAnswer } from "./apns-exchange.js";

/**
 * @param body JSON: { reason, timestamp? }
 * @param nowMs ms since 1970
 */
export function readApnsAnswer(
  headers: IncomingHttpHeaders & IncomingHttpStatusHeader,
  body: string,
  nowMs: number,
): ApnsAnswer {
  const { reason, timestamp } = parseBody(body);
  const apnsId = headers["apns-id"];
  return {
    kind: "answered",
    status: headers[":status"] ?? 0,
    apnsId: typeof apnsId === "string" ? apnsId : undefined,
    reason: typeof reason === "string" && reason !== "" ? reason.slice(0, 100) : undefined,
    timestampMs:
      typeof timestamp === "number" && Number.isFinite(timestamp) && timestamp > 0 ? timestamp : undefined,
    retryAfterMs: parseRetryAfterMs(headers["retry-after"] ?? null, nowMs),
  };
}

/** The reason in a GOAWAY frame, such as "Shutdown". */
export function readGoawayReason(data: Uint8Array | undefined): string | undefined {
  if (data === undefined) return undefined;
  const { reason } = parseBody(Buffer.from(data).toString("utf8"));
  return typeof reason === "string" ? reason.slice(0, 100) : undefined;
}

function parseBody(text: string): { readonly reason?: unknown; readonly timestamp?: unknown } {
  if (text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
