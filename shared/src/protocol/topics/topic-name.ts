// The names of topics, and where a topic's data lies.
// Guarantees: a name has no space, tab, newline, slash, brace or `#`, so it can stand in keys, lines and records.
import { TOPIC_PATTERN } from "../messages/ids.js";
import { partitionOfUser } from "../messages/partition.js";

/** The topic of a broadcast: every connection has it, and `$` keeps it apart from all other names. */
export const BROADCAST_TOPIC = "$all";

/** A topic, or several of one beginning: `room.*`. The star stands at the end, and nowhere else. */
export const TOPIC_PATTERN_PATTERN = `(?:${TOPIC_PATTERN})|(?:^[A-Za-z0-9._:@|~+=-]{0,127}\\*$)`;

const nameExpression = new RegExp(TOPIC_PATTERN);
const patternExpression = new RegExp(TOPIC_PATTERN_PATTERN);

/** Whether producers and clients may use this name; `$all` is not among them. */
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
 * Topics are laid out by the hash that lays out users.
 * @param topic a topic's name, or `$all`
 */
export function partitionOfTopic(topic: string, partitionCount: number): number {
  return partitionOfUser(topic, partitionCount);
}

/** How a record names a topic where it would name a user: no user's name holds `#`. */
export function recipientOfTopic(topic: string): string {
  return `#${topic}`;
}

/** @returns undefined where the recipient is a user */
export function topicOfRecipient(recipient: string): string | undefined {
  return recipient.startsWith("#") ? recipient.slice(1) : undefined;
}
