// push-node/topics/{handle-topic-frames, topic-requests, publish-for-client} -> here: the answer to a refused frame.
// Guarantees: the connection stays open. The answer is not larger than its question. `action` is about that frame.
import type { ErrorCode } from "@petrel/shared/protocol/error-codes";
import type { ErrorAction, ErrorFrame } from "@petrel/shared/protocol/frames/server-frames";

export type TopicFrameKind = NonNullable<ErrorFrame["on"]>;

export interface TopicRefusal {
  readonly code: keyof typeof actions;
  readonly message: string;
}

/** A topic or a `ref` is cut to this length. */
const MAX_REF_LENGTH = 128;

const actions = {
  PETREL_INVALID_REQUEST: "stop",
  PETREL_FORBIDDEN: "stop",
  PETREL_CONFLICT: "none",
  PETREL_TOO_MANY_TOPICS: "none",
  PETREL_PAYLOAD_TOO_LARGE: "stop",
  PETREL_IDEMPOTENCY_MISMATCH: "stop",
  PETREL_RATE_LIMITED: "backoff",
  PETREL_UNAVAILABLE: "backoff",
  PETREL_NOT_IMPLEMENTED: "stop",
} as const satisfies Partial<Record<ErrorCode, ErrorAction>>;

export function refuseTopicFrame(
  on: TopicFrameKind,
  ref: string,
  { code, message }: TopicRefusal,
): ErrorFrame {
  return { type: "error", code, message, action: actions[code], ref: cut(ref), on };
}

/** Not every JSON reader accepts half a character. */
function cut(ref: string): string {
  const isSplit = ref.length > MAX_REF_LENGTH && isHighSurrogate(ref, MAX_REF_LENGTH - 1);
  return ref.slice(0, isSplit ? MAX_REF_LENGTH - 1 : MAX_REF_LENGTH);
}

function isHighSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xd800 && unit <= 0xdbff;
}
