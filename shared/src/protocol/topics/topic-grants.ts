// auth/create-token -> here -> push-node: what a user's token allows with topics.
// Guarantees: without grants nothing is allowed; the grants of all matching patterns add up.
import { isTopicPattern, matchesTopic } from "./topic-name.js";

export const topicRights = ["subscribe", "publish", "presence"] as const;
export type TopicRight = (typeof topicRights)[number];

export interface TopicGrant {
  /** A topic's name, or a prefix followed by `*`. */
  readonly topic: string;
  /** Not empty, without duplicates. */
  readonly can: readonly TopicRight[];
}

export const MAX_TOPIC_GRANTS = 100;
/** For all grants as JSON text, because a token travels in a header. */
export const MAX_TOPIC_GRANTS_BYTES = 2 * 1024;

export type ReadGrants =
  | { readonly ok: true; readonly grants: readonly TopicGrant[] }
  /** `at` says where the problem is: "" for the whole list, "/3" for the fourth entry, "/3/can" for its rights. */
  | { readonly ok: false; readonly at: string; readonly problem: string };

/**
 * Reads a list of patterns: `"room.*"` allows subscribing, `{ topic: "room.*", can: ["publish"] }` exactly what it
 * lists.
 */
export function readTopicGrants(value: unknown): ReadGrants {
  if (!Array.isArray(value)) return wrong("", "must be a list of patterns");
  if (value.length > MAX_TOPIC_GRANTS) return wrong("", `must have at most ${MAX_TOPIC_GRANTS} patterns`);
  // Length equals bytes for ASCII; anything else fails below.
  if (JSON.stringify(value).length > MAX_TOPIC_GRANTS_BYTES) {
    return wrong("", `must take at most ${MAX_TOPIC_GRANTS_BYTES} bytes as JSON`);
  }
  const grants: TopicGrant[] = [];
  for (const [i, entry] of (value as unknown[]).entries()) {
    const read = readGrant(entry);
    if ("problem" in read) return wrong(`/${i}${read.at}`, read.problem);
    grants.push(read);
  }
  return { ok: true, grants: Object.freeze(grants) };
}

function readGrant(entry: unknown): TopicGrant | { readonly at: string; readonly problem: string } {
  if (typeof entry === "string") {
    return isTopicPattern(entry) ? { topic: entry, can: ["subscribe"] } : { at: "", problem: badPattern };
  }
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
    return { at: "", problem: "must be a pattern, or an object with `topic` and `can`" };
  }
  const { topic, can, ...others } = entry as Readonly<Record<string, unknown>>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return { at: `/${unknown}`, problem: "must NOT have additional properties" };
  if (typeof topic !== "string" || !isTopicPattern(topic)) return { at: "/topic", problem: badPattern };
  if (!Array.isArray(can) || can.length === 0) return { at: "/can", problem: "must name at least one right" };
  const rights = topicRights.filter((right) => can.includes(right));
  if (rights.length !== can.length) {
    return { at: "/can", problem: `must name rights once each: ${topicRights.join(", ")}` };
  }
  return { topic, can: rights };
}

/** In the shortest form that `readTopicGrants` accepts, because a token travels in a header. */
export function writeTopicGrants(
  grants: readonly TopicGrant[],
): (string | { readonly topic: string; readonly can: TopicRight[] })[] {
  return grants.map(({ topic, can }) =>
    can.length === 1 && can[0] === "subscribe" ? topic : { topic, can: [...can] },
  );
}

const badPattern = "must be a topic's name, or its beginning with `*` at the end";

function wrong(at: string, problem: string): ReadGrants {
  return { ok: false, at, problem };
}

/** @param grants undefined if the token has no claim `topics` */
export function isGranted(
  grants: readonly TopicGrant[] | undefined,
  topic: string,
  right: TopicRight,
): boolean {
  return grants?.some((grant) => grant.can.includes(right) && matchesTopic(grant.topic, topic)) ?? false;
}
