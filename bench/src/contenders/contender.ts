// Bench: what every server that is measured looks like: two nodes, a way in for messages, and the processes to account
// for.
// Guarantees: a topic stands for whatever the server calls it (room, channel); a user is what its own applications would
// use for one person: Petrel's user, and a room or channel of their own elsewhere.
import type { PostRequest } from "../keep-alive-post.js";
import type { Entrance } from "../subscribers/raw-subscriber.js";

/** One of several messages in one request. */
export interface BatchedMessage {
  readonly topic: string;
  /** JSON text. */
  readonly data: string;
}

/** The client library of a business system, in the bench's own process. */
export interface SenderLibrary {
  /** Resolves when the message is stored. @param data JSON text */
  readonly send: (topic: string, data: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** How a client gets in, and how what it gets is published. */
export interface Side {
  /** Where the client with this index gets in; neighbours go to different nodes. */
  readonly entrance: (index: number, topics: readonly string[]) => Entrance | Promise<Entrance>;
  /** The request by which publisher `publisher` publishes JSON text to a topic. */
  readonly publication: (publisher: number, topic: string, data: string) => PostRequest;
  /** The same for many messages; undefined where there is no such request. */
  readonly batch?: (publisher: number, messages: readonly BatchedMessage[]) => PostRequest;
  /** Where there is a library that makes the requests by itself. */
  readonly openLibrary?: () => SenderLibrary;
}

export interface Contender extends Side {
  /** With its version: "Socket.IO 4.8.4". */
  readonly name: string;
  /** What differs from its defaults, and why: one line for the table's foot. */
  readonly setUp: string;
  /** All server processes by name, Redis among them. */
  readonly pids: ReadonlyMap<string, number>;
  /** Messages to single users, where a topic's name is a user's (`userOf`); undefined where there is no such thing. */
  readonly users?: Side;
  /** Its own Redis. */
  readonly redisUrl?: string;
  /** Leaves no process behind. */
  readonly stop: () => Promise<void>;
}

/** The user with this index, whom its neighbour shares no node with. */
export function userOf(index: number): string {
  return `u${index}`;
}

/** Why one can't take part on this machine. */
export interface LeftOut {
  readonly leftOut: string;
}

export type OpenContender = () => Promise<Contender | LeftOut>;

export const JSON_HEADERS = { "Content-Type": "application/json" };
