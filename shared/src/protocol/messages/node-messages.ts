// What reaches a push node. Its own channel carries messages from accept, the dispatcher and operators' calls; the
// channel of all nodes carries revocations.
// Guarantees: each message has one kind and one or more lines. Unknown kinds (of a newer release) decode to undefined
// and are skipped: `due` brings their users up to date.

import { decodePolicyLetters, priorityLetters, type Priority, type Traced } from "./stored-message.js";

/** One message for one user, on its way to the sockets. */
export interface Envelope extends Traced {
  readonly userId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly atMs: number;
  readonly id: string;
  readonly priority: Priority;
  /** JSON text, copied into the frame unchanged. */
  readonly data: string;
}

export type NodeMessage =
  | { readonly kind: "deliver"; readonly envelopes: readonly Envelope[] }
  /** Bring these users' connections up to date from their inboxes. */
  | { readonly kind: "nudge"; readonly userIds: readonly string[] }
  /** A newer connection replaced these. */
  | { readonly kind: "evict"; readonly connections: readonly Eviction[] }
  /** An operator asked to close all connections of these users. */
  | { readonly kind: "disconnect"; readonly userIds: readonly string[] }
  /** Tokens of these users with a generation below this one are revoked. */
  | {
      readonly kind: "revoke-user";
      readonly revocations: readonly { readonly userId: string; readonly generation: number }[];
    }
  | {
      readonly kind: "revoke-session";
      readonly revocations: readonly { readonly userId: string; readonly sessionId: string }[];
    }
  /** A `jti` does not name its user, so each partition announces it once. */
  | { readonly kind: "revoke-token"; readonly jtis: readonly string[] }
  /** These users were erased, with all tokens of a generation below this one. */
  | {
      readonly kind: "erase-user";
      readonly erasures: readonly { readonly userId: string; readonly generation: number }[];
    }
  /** Messages that were cancelled after they had been stored. */
  | { readonly kind: "recalled"; readonly recalls: readonly RecalledMessage[] }
  /** Subscriptions that the server keeps for users, added or removed. */
  | { readonly kind: "topics"; readonly changes: readonly KeptTopicChange[] };

export interface RecalledMessage {
  readonly userId: string;
  readonly seq: number;
  readonly epoch: string;
  readonly id: string;
}

export interface KeptTopicChange {
  readonly userId: string;
  readonly topic: string;
  readonly isKept: boolean;
}

export interface Eviction {
  readonly userId: string;
  readonly connection: string;
  /** `limit`: too many connections · `elsewhere`: the session policy. */
  readonly reason: "limit" | "elsewhere";
  /** The newer connection's platform; "" from a script of an older release. */
  readonly platform: string;
}

/** @param text kind NEWLINE line NEWLINE line …, each line TAB-separated */
export function decodeNodeMessage(text: string): NodeMessage | undefined {
  const [kind, ...lines] = text.split("\n");
  switch (kind) {
    case "deliver":
      return { kind, envelopes: lines.map(decodeEnvelope) };
    case "nudge":
    case "disconnect":
      return { kind, userIds: lines };
    case "erase-user":
      return { kind, erasures: decodeErasures(lines) };
    case "evict":
      return {
        kind,
        connections: lines.map((line) => {
          const [userId = "", connection = "", reason, platform = ""] = line.split("\t");
          return { userId, connection, reason: reason === "elsewhere" ? reason : "limit", platform };
        }),
      };
    case "revoke-user":
      return {
        kind,
        revocations: lines.map((line) => {
          const [userId = "", generation = ""] = line.split("\t");
          return { userId, generation: Number(generation) };
        }),
      };
    case "revoke-session":
      return {
        kind,
        revocations: lines.map((line) => {
          const [userId = "", sessionId = ""] = line.split("\t");
          return { userId, sessionId };
        }),
      };
    case "revoke-token":
      return { kind, jtis: lines };
    case "recalled":
      return {
        kind,
        recalls: lines.map((line) => {
          const [userId = "", seq = "", epoch = "", id = ""] = line.split("\t");
          return { userId, seq: Number(seq), epoch, id };
        }),
      };
    case "topics":
      return {
        kind,
        changes: lines.map((line) => {
          const [userId = "", topic = "", sign] = line.split("\t");
          return { userId, topic, isKept: sign === "+" };
        }),
      };
    default:
      return undefined;
  }
}

/** A user, then TAB generation; from a script of an older release users alone, with all of their tokens. */
function decodeErasures(lines: readonly string[]): { userId: string; generation: number }[] {
  return lines.flatMap((userId, i) => {
    if (userId.startsWith("\t")) return [];
    const next = lines[i + 1] ?? "";
    return [{ userId, generation: next.startsWith("\t") ? Number(next.slice(1)) : Infinity }];
  });
}

export function encodeDeliver(envelopes: readonly Envelope[]): string {
  const lines = envelopes.map(
    ({ userId, epoch, seq, atMs, id, priority, data, trace }) =>
      `${userId}\t${seq}\t${epoch}\t${atMs}\t\t${id}\t-${priorityLetters[priority]}\t\t${data}` +
      (trace === undefined ? "" : `\t${trace}`),
  );
  return `deliver\n${lines.join("\n")}`;
}

export function encodeDisconnect(userIds: readonly string[]): string {
  return `disconnect\n${userIds.join("\n")}`;
}

/** A line is an entry of `ready` (see stored-message.ts); a node needs neither its expiry nor its fallback. */
function decodeEnvelope(line: string): Envelope {
  const [userId = "", seq = "", epoch = "", at = "", , id = "", letters = "", , data = "", trace] =
    line.split("\t");
  const { priority } = decodePolicyLetters(letters);
  return { userId, epoch, seq: Number(seq), atMs: Number(at), id, priority, data, trace };
}
