// collect, push-node -> here: how topics are kept, and what clients may do with them; TOPICS_FILE says it.
// Guarantees: the first rule that matches a topic holds for it; a topic that none matches has the defaults.
import { BROADCAST_TOPIC, matchesTopic } from "./topic-name.js";

export type TopicPresence = "off" | "count" | "list";

export interface TopicRule {
  /** A topic, or a beginning with `*` at its end. */
  readonly topics: string;
  /** Messages that are kept; 0 for none. */
  readonly historySize: number;
  /** How long a message is kept. */
  readonly historySeconds: number;
  /** All kept messages together. */
  readonly historyBytes: number;
  readonly presence: TopicPresence;
  /** Whether clients may publish, if their token allows it too. */
  readonly clientPublish: boolean;
  readonly publishPerUserPerSecond: number;
  /** Whether the message archive is its history, beyond what is kept. */
  readonly archive: boolean;
}

export const DEFAULT_TOPIC_RULE: TopicRule = Object.freeze({
  topics: "*",
  historySize: 100,
  historySeconds: 86_400,
  historyBytes: 1024 * 1024,
  presence: "off",
  clientPublish: false,
  publishPerUserPerSecond: 10,
  archive: false,
});

/** A broadcast is kept as other topics are, but it is the servers' alone. */
const BROADCAST_RULE: TopicRule = Object.freeze({ ...DEFAULT_TOPIC_RULE, topics: BROADCAST_TOPIC });

export class TopicRules {
  readonly #rules: readonly TopicRule[];
  readonly #broadcastRule: TopicRule;

  constructor(rules: readonly TopicRule[]) {
    this.#rules = rules;
    // Its own alone: `*` is about topics that people name.
    this.#broadcastRule = rules.find(({ topics }) => topics === BROADCAST_TOPIC) ?? BROADCAST_RULE;
  }

  /** @param topic a topic's name, or `$all` */
  ruleOf(topic: string): TopicRule {
    if (topic === BROADCAST_TOPIC) return this.#broadcastRule;
    return this.#rules.find(({ topics }) => matchesTopic(topics, topic)) ?? DEFAULT_TOPIC_RULE;
  }
}
