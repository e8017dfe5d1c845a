// Bench: how a client of each server subscribes, and what it answers.
// Guarantees: a subscriber counts as subscribed once its server has said so, where it says so at all.

/** What a text frame without a message means. */
export interface Heard {
  /** How many of the topics it says are subscribed. */
  readonly subscribed?: number;
  readonly answers?: readonly string[];
  readonly refused?: string;
}

export interface Dialect {
  /** Sent once the upgrade is through. */
  readonly opening: readonly string[];
  /** The upgrade itself subscribes. */
  readonly isSubscribedByUpgrade: boolean;
  /** Precedes the position in a message, where messages are numbered. */
  readonly offsetKey?: string;
  /** Several messages and replies come in one frame, a line each. */
  readonly hasLines?: boolean;
  readonly hear: (text: string, topics: readonly string[]) => Heard;
  /** What acknowledges everything up to a position, where that is asked for. */
  readonly ack?: (offset: number) => string;
}

export type DialectName = "petrel" | "petrel-user" | "socket.io" | "centrifugo" | "nchan" | "plain";

const BROADCAST_TOPIC = "$all";
const nothing: Heard = {};

export const dialects: Readonly<Record<DialectName, Dialect>> = {
  petrel: {
    opening: [],
    isSubscribedByUpgrade: false,
    offsetKey: '"offset":',
    hear: (text, topics) => {
      const { type, topic, message } = JSON.parse(text) as { type: string; topic?: string; message?: string };
      if (type === "error") return { refused: message ?? text };
      if (type === "subscribed") return { subscribed: topics.includes(topic ?? "") ? 1 : 0 };
      if (type !== "welcome") return nothing;
      // Every connection gets the broadcast unasked.
      const asked = topics.filter((topic) => topic !== BROADCAST_TOPIC);
      const subscribe = { type: "subscribe", topics: asked.map((topic) => ({ topic })) };
      return asked.length === 0 ? nothing : { answers: [JSON.stringify(subscribe)] };
    },
  },
  // The user's own messages, which come unasked, each with its number.
  "petrel-user": {
    opening: [],
    isSubscribedByUpgrade: false,
    offsetKey: '"seq":',
    ack: (seq) => `{"type":"ack","seq":${seq}}`,
    hear: (text, topics) => {
      const { type, message } = JSON.parse(text) as { type: string; message?: string };
      if (type === "error") return { refused: message ?? text };
      return type === "welcome" ? { subscribed: topics.length } : nothing;
    },
  },
  "socket.io": {
    opening: [],
    isSubscribedByUpgrade: false,
    hear: (text, topics) => {
      if (text === "2") return { answers: ["3"] };
      if (text.startsWith("0")) return { answers: [`40${JSON.stringify({ topics })}`] };
      if (text.startsWith('42["joined"')) return { subscribed: topics.length };
      return text.startsWith("44") ? { refused: text } : nothing;
    },
  },
  centrifugo: {
    opening: ['{"id":1,"connect":{}}'],
    isSubscribedByUpgrade: false,
    offsetKey: '"offset":',
    hasLines: true,
    hear: (text, topics) => {
      // Its ping, and the answer to it.
      if (text === "{}") return { answers: ["{}"] };
      const { id, error, subscribe } = JSON.parse(text) as {
        id?: number;
        error?: unknown;
        subscribe?: unknown;
      };
      if (error !== undefined) return { refused: text };
      if (id === 1)
        return {
          answers: topics.map((channel, i) => JSON.stringify({ id: 2 + i, subscribe: { channel } })),
        };
      return subscribe === undefined ? nothing : { subscribed: 1 };
    },
  },
  nchan: { opening: [], isSubscribedByUpgrade: true, hear: () => nothing },
  plain: {
    opening: [],
    isSubscribedByUpgrade: false,
    hear: (text, topics) => (text === "subscribed" ? { subscribed: topics.length } : nothing),
  },
};
