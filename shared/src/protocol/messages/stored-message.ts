// A message as it stands in Redis: in a user's inbox, in `ready`, and as its record.
// Guarantees: what the scripts write and what is read here agree; the fields hold no tab and no newline (JSON text
// escapes both), so that a line is a line.

/** Who is reached when nobody acknowledges. */
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
  /** The request's `notification` as JSON text; "" where there is none. */
  readonly notification: string;
}

/** What a message carries of its trace, wherever it goes. */
export interface Traced {
  /** Where it is sampled, see protocol/trace-context; else there is none, and no field for it. */
  readonly trace?: string | undefined;
}

/**
 * id TAB two letters TAB notification TAB data [TAB trace]: what a message's writer knows beforehand. The trace is last:
 * a release that does not know it reads the fields before it, and leaves it.
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

/** An entry of `ready`: a message that is not handed over yet. */
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

/** What is kept of a message by its id. */
export interface MessageRecord {
  readonly seq: number;
  readonly epoch: string;
  readonly atMs: number;
  readonly expiresAtMs: number;
  readonly userId: string;
  /** SHA-256 of the content where an idempotency key was given, else "-". */
  readonly fingerprint: string;
  /** Which attempt to accept it stored it, so that our own resend is not taken for the producer's. */
  readonly attempt: string;
  readonly end: RecordedEnd | undefined;
}

/** The end that is not the cursor's. */
export interface RecordedEnd {
  readonly state: "expired" | "cancelled" | "pushed" | "failed";
  readonly atMs: number;
  /** Of `failed`: why, a dead-letter cause; of `pushed`: the channel that took it. */
  readonly word: string | undefined;
  /** Whether no acknowledgement changes it any more. */
  readonly isFinal: boolean;
}

/** userId TAB fingerprint TAB attempt: the part of a record that its writer knows beforehand. */
export function encodeRecordTail(userId: string, fingerprint: string, attempt: string): string {
  return `${userId}\t${fingerprint}\t${attempt}`;
}

/**
 * @param value seq TAB epoch TAB at TAB expiresAt TAB userId TAB fingerprint TAB attempt
 * [TAB state SPACE ms [SPACE word] [SPACE "over"]]
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

/** The part of an epoch that stays while this user's data is one unbroken history, see accept/accept.lua. */
export function lineageOf(epoch: string): string {
  const dot = epoch.indexOf(".");
  return dot === -1 ? epoch : epoch.slice(0, dot);
}
