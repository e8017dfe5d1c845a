// push-node/topics, push-node/fan-out: one connection's subscription to one topic.
// Guarantees: small, because every connection has one to `$all`. A message goes to it only if its number is the next.

/**
 * A stretch of a topic without a gap, as this node knows it. It ends with the topic's epoch, and with a loss that the
 * log cannot fill. A member of a former era is told so before it gets anything later.
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
  /** Everything up to here was sent or has expired. */
  lastOffset = 0;
  /** It continues as its socket drains; the fan-out skips it. */
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
