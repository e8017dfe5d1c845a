// Bench: what every server that is measured looks like: two nodes, a way in for messages, and the processes to account
// for.
// Guarantees: a topic stands for whatever the server calls it (room, channel); a user is a topic of their own.
import type { PostRequest } from "../keep-alive-post.js";
import type { Entrance } from "../subscribers/raw-subscriber.js";

export interface Contender {
  /** With its version: "Socket.IO 4.8.4". */
  readonly name: string;
  /** What differs from its defaults, and why: one line for the table's foot. */
  readonly setUp: string;
  /** All server processes by name, Redis among them. */
  readonly pids: ReadonlyMap<string, number>;
  /** Where the client with this index gets in; neighbours go to different nodes. */
  readonly entrance: (index: number, topics: readonly string[]) => Entrance | Promise<Entrance>;
  /** The request by which publisher `publisher` publishes JSON text to a topic. */
  readonly publication: (publisher: number, topic: string, data: string) => PostRequest;
  /** Leaves no process behind. */
  readonly stop: () => Promise<void>;
}

/** Why one can't take part on this machine. */
export interface LeftOut {
  readonly leftOut: string;
}

export type OpenContender = () => Promise<Contender | LeftOut>;

export const JSON_HEADERS = { "Content-Type": "application/json" };
