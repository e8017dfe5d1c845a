// push-node/presence -> here -> a client: who is in a topic.
// Guarantees: the whole state each time, so a frame that was left out is missed by nobody.

export interface PresenceFrame {
  readonly topic: string;
  /** Each once, however many connections. */
  readonly users: number;
  readonly connections: number;
  /** All of them, in the order of their names; absent where the topic's rule says `count`, or they are too many. */
  readonly here?: readonly string[];
}

export function encodePresenceFrame({ topic, users, connections, here }: PresenceFrame): string {
  return JSON.stringify({ type: "presence", topic, users, connections, here });
}
