// What clients say to a push node: text frames, one JSON object each.
// Guarantees: the result is validated. Unknown fields are ignored; unknown types and missing fields are refused.
// Whether a name, a position or a size is allowed is decided later, because such a mistake does not close the
// connection.

export type ClientFrame =
  | { readonly type: "auth"; readonly token: string }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "ack"; readonly seq: number }
  | SubscribeFrame
  | UnsubscribeFrame
  | PublishFrame
  | { readonly type: "ping" };

/** A topic that a client wants, and where it stopped reading. */
export interface TopicWish {
  readonly topic: string;
  /** `epoch` and `offset` come together; one alone is a mistake, but closes nothing. */
  readonly epoch?: string;
  readonly offset?: number;
  readonly presence?: boolean;
}

export interface SubscribeFrame {
  readonly type: "subscribe";
  /** One topic, or the list of a frame with `topics`, which may be empty or too long. */
  readonly topics: readonly TopicWish[];
}

export interface UnsubscribeFrame {
  readonly type: "unsubscribe";
  readonly topics: readonly Pick<TopicWish, "topic">[];
}

export interface PublishFrame {
  readonly type: "publish";
  readonly ref: string;
  readonly topic: string;
  /** Any JSON value. */
  readonly data: unknown;
  readonly idempotencyKey?: string;
}

export type ParsedFrame =
  | { readonly ok: true; readonly frame: ClientFrame }
  | { readonly ok: false; readonly problem: string };

/** The most frequent frame, exactly as the SDK writes it, is read without building an object. */
const plainAck = /^\{"type":"ack","seq":(\d{1,15})\}$/;

export function parseClientFrame(text: string): ParsedFrame {
  const ack = plainAck.exec(text);
  if (ack !== null) return { ok: true, frame: { type: "ack", seq: Number(ack[1]) } };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad("The frame is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return bad("The frame is not a JSON object.");
  }
  const fields = value as Record<string, unknown>;
  const { type, seq, token } = fields;
  switch (type) {
    case "ack":
      return typeof seq === "number" && Number.isSafeInteger(seq) && seq >= 0
        ? { ok: true, frame: { type, seq } }
        : bad("An ack needs `seq`, a whole number.");
    case "ping":
      return { ok: true, frame: { type } };
    case "auth":
    case "token":
      return typeof token === "string" && token !== ""
        ? { ok: true, frame: { type, token } }
        : bad(`A frame of type "${type}" needs \`token\`, a string.`);
    case "subscribe":
    case "unsubscribe":
      return parseTopics(type, fields);
    case "publish":
      return parsePublish(fields);
    default:
      return bad(typeof type === "string" ? "The frame is of an unknown type." : "The frame has no `type`.");
  }
}

function parseTopics(type: "subscribe" | "unsubscribe", fields: Record<string, unknown>): ParsedFrame {
  const wishes: unknown = fields["topics"] === undefined ? [fields] : fields["topics"];
  if (!Array.isArray(wishes)) return bad("`topics` must be a list.");
  const topics: TopicWish[] = [];
  for (const wish of wishes as unknown[]) {
    const read = readWish(type, wish);
    if (typeof read === "string") return bad(read);
    topics.push(read);
  }
  return { ok: true, frame: { type, topics } };
}

/** @returns an error text if something is missing or of another type */
function readWish(type: "subscribe" | "unsubscribe", wish: unknown): TopicWish | string {
  if (typeof wish !== "object" || wish === null || Array.isArray(wish)) {
    return "Each of `topics` must be an object with `topic`.";
  }
  const { topic, epoch, offset, presence } = wish as Record<string, unknown>;
  if (typeof topic !== "string") return `A frame of type "${type}" needs \`topic\`, a string.`;
  if (type === "unsubscribe") return { topic };
  if (epoch !== undefined && typeof epoch !== "string") return "`epoch` must be a string.";
  if (offset !== undefined && typeof offset !== "number") return "`offset` must be a number.";
  if (presence !== undefined && typeof presence !== "boolean") return "`presence` must be true or false.";
  return {
    topic,
    ...(epoch === undefined ? {} : { epoch }),
    ...(offset === undefined ? {} : { offset }),
    ...(presence === undefined ? {} : { presence }),
  };
}

function parsePublish({ ref, topic, data, idempotencyKey }: Record<string, unknown>): ParsedFrame {
  if (typeof ref !== "string") return bad("A publish needs `ref`, a string.");
  if (typeof topic !== "string") return bad("A publish needs `topic`, a string.");
  if (data === undefined) return bad("A publish needs `data`.");
  if (idempotencyKey !== undefined && typeof idempotencyKey !== "string") {
    return bad("`idempotencyKey` must be a string.");
  }
  return {
    ok: true,
    frame: {
      type: "publish",
      ref,
      topic,
      data,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    },
  };
}

function bad(problem: string): ParsedFrame {
  return { ok: false, problem };
}
