// push-node/topics, push-node/fan-out: one connection's part in one topic.
// Guarantees: small, since every connection has one of `$all`; a message is for it only where its number is the next.

/**
 * A stretch of a topic without a hole, as this node knows it: it ends with the topic's epoch, and where something was
 * lost that the log no longer has. A member of a former one is told before it gets anything later.
 */
export interface TopicEra {
  readonly epoch: string;
}

/** See `Subscription` in connection.ts. */
export class TopicSubscription<Holder> {
  readonly connection: Holder;
  /** A topic's name, or `$all`. */
  readonly topic: string;
  /** Its place among the topic's members; -1 before `subscribed` was sent, and after its end. */
  index = -1;
  era: TopicEra | undefined;
  /** Everything up to here was sent, or is over. */
  lastOffset = 0;
  /** It reads on as its socket drains; the fan-out passes it by. */
  isBehind = false;
  /** The client asked for it, and its token allows it. */
  byClient = false;
  /** The server keeps it for the user, or for everyone. */
  byServer = false;
  /** The client wants to know who is there. */
  hasPresence = false;

  constructor(connection: Holder, topic: string) {
    this.connection = connection;
    this.topic = topic;
  }
}
