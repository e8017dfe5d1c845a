// Tests only: records what subscribers of topics asked for, what came over their sockets, and what their applications
// got; check-topics reads it.
// Guarantees: events stand in the order they were read; nothing is judged here.

/** The connection of one client. */
export interface TopicConnection {
  readonly id: string;
  readonly client: string;
  readonly user: string;
  readonly node: string;
}

export interface TopicPosition {
  readonly epoch: string;
  readonly offset: number;
}

/** A frame about a topic, as its client read it. */
export type TopicEvent = { readonly connection: TopicConnection; readonly topic: string } & (
  | {
      readonly kind: "subscribed";
      readonly epoch: string;
      readonly offset: number;
      readonly oldest: number;
      readonly recovered: boolean;
      /** The position of the `subscribe` that it answers; undefined where there was none, or nobody asked. */
      readonly given: TopicPosition | undefined;
    }
  | { readonly kind: "message"; readonly offset: number; readonly id: string }
  | { readonly kind: "unsubscribed" }
);

/** A message that an application got. */
export interface HandledTopicMessage {
  readonly client: string;
  readonly topic: string;
  readonly offset: number;
  readonly id: string;
  readonly n: number | undefined;
}

export interface TopicHistory {
  readonly events: readonly TopicEvent[];
  readonly handled: readonly HandledTopicMessage[];
  /** Applications that were told of a hole, each time. */
  readonly holes: readonly { readonly client: string; readonly topic: string }[];
}

export class TopicRecorder implements TopicHistory {
  readonly events: TopicEvent[] = [];
  readonly handled: HandledTopicMessage[] = [];
  readonly holes: { readonly client: string; readonly topic: string }[] = [];
  /** What each connection asked for last, until it is answered. */
  readonly #asked = new Map<TopicConnection, Map<string, TopicPosition | undefined>>();

  /** @param frame any frame that a client sends */
  sent(connection: TopicConnection, frame: Readonly<Record<string, unknown>>): void {
    if (frame["type"] !== "subscribe") return;
    const entries = (frame["topics"] ?? [frame]) as readonly {
      readonly topic: string;
      readonly epoch?: string;
      readonly offset?: number;
    }[];
    const asked = this.#asked.get(connection) ?? new Map<string, TopicPosition | undefined>();
    this.#asked.set(connection, asked);
    for (const { topic, epoch, offset } of entries) {
      asked.set(topic, epoch === undefined || offset === undefined ? undefined : { epoch, offset });
    }
  }

  /** @param frame any frame that a client reads */
  received(connection: TopicConnection, frame: Readonly<Record<string, unknown>>): void {
    const { type, topic } = frame;
    if (typeof topic !== "string") return;
    if (type === "subscribed") {
      const asked = this.#asked.get(connection);
      const given = asked?.get(topic);
      asked?.delete(topic);
      this.events.push({
        connection,
        topic,
        kind: type,
        epoch: String(frame["epoch"]),
        offset: Number(frame["offset"]),
        oldest: Number(frame["oldest"]),
        recovered: frame["recovered"] === true,
        given,
      });
    } else if (type === "message") {
      const [offset, id] = [Number(frame["offset"]), String(frame["id"])];
      this.events.push({ connection, topic, kind: type, offset, id });
    } else if (type === "unsubscribed") {
      this.events.push({ connection, topic, kind: type });
    }
  }

  wasHandled(message: HandledTopicMessage): void {
    this.handled.push(message);
  }

  toldOfHole(client: string, topic: string): void {
    this.holes.push({ client, topic });
  }
}
