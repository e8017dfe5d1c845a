// topic-subscriptions, topic-publisher -> here: the parts of the open connection that topics need.
import type { Connection } from "../connection/connection.js";

/** A socket, or the connection that several tabs share. */
export type TopicConnection = Pick<Connection, "send" | "broadcast">;
