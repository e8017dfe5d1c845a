// collect, push-node -> here: how topics are kept and what clients may do with them, from TOPICS_FILE.
// Guarantees: the first rule that matches a topic applies; a topic that none matches has the defaults.
import { BROADCAST_TOPIC, matchesTopic } from "./topic-name.js";

export type TopicPresence = "off" | "count" | "list";

export interface TopicRule {
  /** A topic's name, or a prefix followed by `*`. */
  readonly topics: string;
  /** How many messages are kept; 0 for none. */
  readonly historySize: number;
  /** How long a message is kept. */
  readonly historySeconds: number;
  /** The limit for all kept messages together. */
  readonly historyBytes: number;
  readonly presence: TopicPresence;
  /** Whether clients may publish, if their token also allows it. */
  readonly clientPublish: boolean;
  readonly publishPerUserPerSecond: number;
  /** Whether the message archive serves as its history, beyond what is kept. */
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

/** A broadcast is kept like other topics, but only servers may publish to it. */
const BROADCAST_RULE: TopicRule = Object.freeze({ ...DEFAULT_TOPIC_RULE, topics: BROADCAST_TOPIC });

export class TopicRules {
  readonly #rules: readonly TopicRule[];
  readonly #broadcastRule: TopicRule;

  constructor(rules: readonly TopicRule[]) {
    this.#rules = rules;
    // Only a rule for `$all` itself: `*` covers the topics that people name.
    this.#broadcastRule = rules.find(({ topics }) => topics === BROADCAST_TOPIC) ?? BROADCAST_RULE;
  }

  /** @param topic a topic's name, or `$all` */
  ruleOf(topic: string): TopicRule {
    if (topic === BROADCAST_TOPIC) return this.#broadcastRule;
    return this.#rules.find(({ topics }) => matchesTopic(topics, topic)) ?? DEFAULT_TOPIC_RULE;
  }
}
