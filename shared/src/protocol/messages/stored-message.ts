// A message as Redis stores it: in a user's inbox, in `ready`, and as its record.
// Guarantees: the scripts and this reader agree. No field holds a tab or a newline (JSON text escapes both), so a
// record is always one line.

/** Who gets a fallback if nobody acknowledges. */
export type FallbackPolicy = "offline" | "always" | "never";
export const priorities = ["high", "normal", "low"] as const;
export type Priority = (typeof priorities)[number];

const fallbackLetters = { offline: "o", always: "a", never: "n" } as const;
export const priorityLetters = { high: "h", normal: "n", low: "l" } as const;

const fallbackOf = new Map<string, FallbackPolicy>([
  ["o", "offline"],
  ["a", "always"],
  ["n", "never"],
]);
const priorityOf = new Map<string, Priority>([
  ["h", "high"],
  ["n", "normal"],
  ["l", "low"],
]);

export interface DeliveryPolicy {
  readonly fallback: FallbackPolicy;
  readonly priority: Priority;
  /** The request's `notification` as JSON text; "" if there is none. */
  readonly notification: string;
}

/** The part of a message's trace that travels with it. */
export interface Traced {
  /** Present if the trace is sampled, see protocol/trace-context. */
  readonly trace?: string | undefined;
}

/**
 * id TAB two letters TAB notification TAB data [TAB trace]: what the writer knows before the message is stored. The
 * trace comes last, so that a release that does not know it can read the fields before it.
 */
export function encodeBody({
  id,
  fallback,
  priority,
  notification,
  data,
  trace,
}: DeliveryPolicy & Traced & { readonly id: string; readonly data: string }): string {
  const body = `${id}\t${fallbackLetters[fallback]}${priorityLetters[priority]}\t${notification}\t${data}`;
  return trace === undefined ? body : `${body}\t${trace}`;
}

/** An entry of a user's inbox. */
export interface InboxMessage extends DeliveryPolicy, Traced {
  readonly seq: number;
  readonly epoch: string;
  /** When it was accepted, ms since 1970 by Redis' clock. */
  readonly atMs: number;
  readonly expiresAtMs: number;
  readonly id: string;
  /** JSON text. */
  readonly data: string;
}

/**
 * @param seq the entry's number
 * @param value epoch TAB at TAB expiresAt TAB id TAB letters TAB notification TAB data [TAB trace]
 */
export function decodeInboxMessage(seq: number, value: string): InboxMessage {
  const [epoch = "", at = "", expiresAt = "", id = "", letters = "", notification = "", data = "", trace] =
    value.split("\t");
  return {
    seq,
    epoch,
    atMs: Number(at),
    expiresAtMs: Number(expiresAt),
    id,
    ...decodePolicyLetters(letters),
    notification,
    data,
    trace,
  };
}

/** @param letters one for the fallback, one for the priority */
export function decodePolicyLetters(letters: string): Pick<DeliveryPolicy, "fallback" | "priority"> {
  return {
    fallback: fallbackOf.get(letters.charAt(0)) ?? "offline",
    priority: priorityOf.get(letters.charAt(1)) ?? "normal",
  };
}

/** An entry of `ready`: a message not yet handed over. */
export interface ReadyMessage extends InboxMessage {
  readonly userId: string;
}

/** @param value userId TAB seq TAB an inbox entry's value */
export function decodeReadyMessage(value: string): ReadyMessage {
  const first = value.indexOf("\t");
  const second = value.indexOf("\t", first + 1);
  const message = decodeInboxMessage(Number(value.slice(first + 1, second)), value.slice(second + 1));
  return { userId: value.slice(0, first), ...message };
}

/** What is stored about a message under its id. */
export interface MessageRecord {
  readonly seq: number;
  readonly epoch: string;
  readonly atMs: number;
  readonly expiresAtMs: number;
  readonly userId: string;
  /** SHA-256 of the content if an idempotency key was given, otherwise NO_IDENTITY. */
  readonly fingerprint: string;
  /**
   * Which accept attempt stored it, so that our own retry is not taken for the producer's. NO_IDENTITY if nobody else
   * can send this id.
   */
  readonly attempt: string;
  readonly end: RecordedEnd | undefined;
  /**
   * Set while a scheduled message waits for its time, ms. It has no number then: `seq` is NO_SEQ, and stays so if it
   * ends before.
   */
  readonly deliverAtMs: number | undefined;
}

/** An end that the user's cursor does not record. */
export interface RecordedEnd {
  readonly state: "expired" | "cancelled" | "pushed" | "failed";
  readonly atMs: number;
  /** For `failed`: the dead-letter cause; for `pushed`: the channel that accepted it. */
  readonly word: string | undefined;
  /** Whether an acknowledgement can no longer change the end. */
  readonly isFinal: boolean;
}

/** Stands for the fingerprint, and for the attempt, of a message without an idempotency key. */
export const NO_IDENTITY = "-";

/** fingerprint TAB attempt: the part of a record that tells a retry from another message. */
export function encodeIdentity(fingerprint: string, attempt: string): string {
  return `${fingerprint}\t${attempt}`;
}

/** userId TAB fingerprint TAB attempt: the part of a record that the writer knows before the message is stored. */
export function encodeRecordTail(userId: string, fingerprint: string, attempt: string): string {
  return `${userId}\t${encodeIdentity(fingerprint, attempt)}`;
}

/**
 * @param value seq TAB epoch TAB at TAB expiresAt TAB userId TAB fingerprint TAB attempt [TAB state SPACE ms [SPACE
 * word] [SPACE "over"]]; for one without a number see redis/scripts/includes/messages/scheduled-record.lua
 */
export function decodeMessageRecord(value: string): MessageRecord {
  const [seq = "", epoch = "", at = "", expiresAt = "", userId = "", fingerprint = "", attempt = "", end] =
    value.split("\t");
  const [state, endedAt, ...words] = end?.split(" ") ?? [];
  return {
    seq: Number(seq),
    epoch,
    atMs: Number(at),
    expiresAtMs: Number(expiresAt),
    userId,
    fingerprint,
    attempt,
    deliverAtMs: state === "scheduled" ? Number(endedAt) : undefined,
    end:
      state === "expired" || state === "cancelled" || state === "pushed" || state === "failed"
        ? {
            state,
            atMs: Number(endedAt),
            word: words.find((word) => word !== "over"),
            isFinal: state === "expired" || state === "cancelled" || words.includes("over"),
          }
        : undefined,
  };
}

/** The part of an epoch that stays the same as long as the user's history is unbroken, see accept/accept.lua. */
export function lineageOf(epoch: string): string {
  const dot = epoch.indexOf(".");
  return dot === -1 ? epoch : epoch.slice(0, dot);
}
