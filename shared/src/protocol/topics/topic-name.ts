// The names of topics, and which partition holds a topic's data.
// Guarantees: a name has no space, tab, newline, slash, brace or `#`, so it can stand in keys, lines and records.
import { TOPIC_PATTERN } from "../messages/ids.js";
import { partitionOfUser } from "../messages/partition.js";

/** The broadcast topic: every connection has it. The `$` sets it apart from all other names. */
export const BROADCAST_TOPIC = "$all";

/** A topic, or all topics with a prefix: `room.*`. The star may only stand at the end. */
export const TOPIC_PATTERN_PATTERN = `(?:${TOPIC_PATTERN})|(?:^[A-Za-z0-9._:@|~+=-]{0,127}\\*$)`;

const nameExpression = new RegExp(TOPIC_PATTERN);
const patternExpression = new RegExp(TOPIC_PATTERN_PATTERN);

/** Whether producers and clients may use this name; `$all` is not allowed. */
export function isTopicName(text: string): boolean {
  return nameExpression.test(text);
}

export function isTopicPattern(text: string): boolean {
  return patternExpression.test(text);
}

/** @param pattern see `TOPIC_PATTERN_PATTERN` */
export function matchesTopic(pattern: string, topic: string): boolean {
  return pattern.endsWith("*") ? topic.startsWith(pattern.slice(0, -1)) : pattern === topic;
}

/**
 * Topics use the same hash as users.
 * @param topic a topic's name, or `$all`
 */
export function partitionOfTopic(topic: string, partitionCount: number): number {
  return partitionOfUser(topic, partitionCount);
}

/** How a record names a topic in place of a user: no user's name contains `#`. */
export function recipientOfTopic(topic: string): string {
  return `#${topic}`;
}

/** @returns undefined if the recipient is a user */
export function topicOfRecipient(recipient: string): string | undefined {
  return recipient.startsWith("#") ? recipient.slice(1) : undefined;
}
