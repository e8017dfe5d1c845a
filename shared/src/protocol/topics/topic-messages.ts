// topics/publish-topic.lua -> here -> push-node, collect: a topic's messages, in its log and on its channel.
// Guarantees: the scripts and this reader agree; no field holds a tab or a newline (JSON text escapes both).

export interface TopicMessage {
  /** Its number in the topic: always one higher than the last, even across epochs. */
  readonly offset: number;
  readonly epoch: string;
  /** When it was published, ms since 1970 by Redis' clock. */
  readonly atMs: number;
  /** When replays stop including it, ms; its place in the log remains. */
  readonly expiresAtMs: number;
  readonly id: string;
  /** The user whose client published it; "" if a business system did. */
  readonly from: string;
  /** JSON text. */
  readonly data: string;
  /** Present if the trace is sampled, see protocol/messages/trace-context. */
  readonly trace?: string | undefined;
}

/** The kinds of text on a topic's channel. */
export type TopicText =
  | { readonly kind: "messages"; readonly messages: readonly TopicMessage[] }
  /** The set of present users has changed. */
  | { readonly kind: "presence" };

/** id TAB from TAB data [TAB trace]: what the writer knows before the message is published. */
export function encodeTopicBody({
  id,
  from,
  data,
  trace,
}: Pick<TopicMessage, "id" | "from" | "data" | "trace">): string {
  const body = `${id}\t${from}\t${data}`;
  return trace === undefined ? body : `${body}\t${trace}`;
}

/**
 * @param offset the entry's number
 * @param value epoch TAB at TAB expiresAt TAB id TAB from TAB data [TAB trace]
 */
export function decodeTopicMessage(offset: number, value: string): TopicMessage {
  const [epoch = "", at = "", expiresAt = "", id = "", from = "", data = "", trace] = value.split("\t");
  return { offset, epoch, atMs: Number(at), expiresAtMs: Number(expiresAt), id, from, data, trace };
}

/**
 * @param text `publish` NEWLINE line NEWLINE line …, each line offset TAB a log entry's value; or `presence`
 * @returns undefined for a kind of a newer release
 */
export function decodeTopicText(text: string): TopicText | undefined {
  const [kind, ...lines] = text.split("\n");
  switch (kind) {
    case "publish":
      return {
        kind: "messages",
        messages: lines.map((line) => {
          const tab = line.indexOf("\t");
          return decodeTopicMessage(Number(line.slice(0, tab)), line.slice(tab + 1));
        }),
      };
    case "presence":
      return { kind };
    default:
      return undefined;
  }
}
