// push-node/presence -> here -> a client: who is in a topic.
// Guarantees: each frame holds the whole state, so skipping one loses nothing.

export interface PresenceFrame {
  readonly topic: string;
  /** Distinct users, regardless of their number of connections. */
  readonly users: number;
  readonly connections: number;
  /** All of them, in the order of their names; absent if the topic's rule says `count`, or there are too many. */
  readonly here?: readonly string[];
}

export function encodePresenceFrame({ topic, users, connections, here }: PresenceFrame): string {
  return JSON.stringify({ type: "presence", topic, users, connections, here });
}
