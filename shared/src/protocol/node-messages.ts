// What reaches a push node over its channel: from accept's hand-over, the dispatcher, and the operators' calls.
// Guarantees: one kind a message, several lines of it; unknown kinds (of a newer release) decode to undefined and
// are skipped: `due` brings their users up to date.

/** One message for one user, on its way to the sockets. */
export interface Envelope {
  readonly userId: string;
  readonly epoch: string;
  readonly seq: number;
  readonly atMs: number;
  readonly id: string;
  /** JSON text, put into the frame as it is. */
  readonly data: string;
}

export type NodeMessage =
  | { readonly kind: "deliver"; readonly envelopes: readonly Envelope[] }
  /** Bring these users' connections up to date from their inboxes. */
  | { readonly kind: "nudge"; readonly userIds: readonly string[] }
  /** A newer connection took these ones' places. */
  | {
      readonly kind: "evict";
      readonly connections: readonly { readonly userId: string; readonly connection: string }[];
    }
  /** Close all connections of these users: an operator's wish. */
  | { readonly kind: "disconnect"; readonly userIds: readonly string[] };

/** @param text kind NEWLINE line NEWLINE line …, each line TAB-separated */
export function decodeNodeMessage(text: string): NodeMessage | undefined {
  const [kind, ...lines] = text.split("\n");
  switch (kind) {
    case "deliver":
      return { kind, envelopes: lines.map(decodeEnvelope) };
    case "nudge":
    case "disconnect":
      return { kind, userIds: lines };
    case "evict":
      return {
        kind,
        connections: lines.map((line) => {
          const [userId = "", connection = ""] = line.split("\t");
          return { userId, connection };
        }),
      };
    default:
      return undefined;
  }
}

export function encodeDeliver(envelopes: readonly Envelope[]): string {
  const lines = envelopes.map(
    ({ userId, epoch, seq, atMs, id, data }) => `${userId}\t${seq}\t${epoch}\t${atMs}\t\t${id}\t\t\t${data}`,
  );
  return `deliver\n${lines.join("\n")}`;
}

export function encodeDisconnect(userIds: readonly string[]): string {
  return `disconnect\n${userIds.join("\n")}`;
}

/** A line is an entry of `ready` (see stored-message.ts): a node has no use for its expiry and its policy. */
function decodeEnvelope(line: string): Envelope {
  const [userId = "", seq = "", epoch = "", at = "", , id = "", , , data = ""] = line.split("\t");
  return { userId, epoch, seq: Number(seq), atMs: Number(at), id, data };
}
