// topic-subscriptions, topic-publisher -> here: what topics need of the open connection.
import type { Connection } from "../connection/connection.js";

/** A socket, or what several tabs share. */
export type TopicConnection = Pick<Connection, "send" | "broadcast">;
