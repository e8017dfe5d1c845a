// topics-file -> here: reads and checks the text of TOPICS_FILE.
// Guarantees: nothing is ignored or converted. An unknown field, a wrong value or a wrong pattern refuses the whole
// file, and the error names its line.
import { DEFAULT_TOPIC_RULE, type TopicRule } from "../../protocol/topics/topic-rules.js";
import { BROADCAST_TOPIC, isTopicPattern } from "../../protocol/topics/topic-name.js";
import { JsonLineError, readJsonWithLines } from "./read-json-with-lines.js";

type Fields = Readonly<Record<string, unknown>>;
/** @throws Error with a message that completes "FIELD must be …" */
type ReadField = (value: unknown) => unknown;

/** More rules would slow down the first publish to each topic. */
const MAX_RULES = 1_000;
const MAX_HISTORY_SIZE = 100_000;
/** No message lives longer. */
const MAX_HISTORY_SECONDS = 30 * 24 * 60 * 60;
const MAX_HISTORY_BYTES = 64 * 1024 * 1024;
const MAX_PUBLISH_PER_SECOND = 1_000_000;
const presences = ["off", "count", "list"] as const;

const fields: Readonly<Record<keyof TopicRule, ReadField>> = {
  topics: readPattern,
  historySize: wholeNumber(0, MAX_HISTORY_SIZE),
  historySeconds: wholeNumber(1, MAX_HISTORY_SECONDS),
  historyBytes: wholeNumber(1, MAX_HISTORY_BYTES),
  presence: readPresence,
  clientPublish: readFlag,
  publishPerUserPerSecond: wholeNumber(1, MAX_PUBLISH_PER_SECOND),
  archive: readFlag,
};
/** All other fields are fixed: everyone who connects gets the broadcast. */
const broadcastFields: ReadonlySet<string> = new Set(["topics", "archive"]);

/**
 * @param source `{ "rules": [{ "topics": "room.*", … }] }`
 * @param lacksArchive whether a rule wants an archive that this process does not have
 * @returns in the file's order, with defaults for what a rule leaves out
 * @throws JsonLineError
 */
export function readTopicRules(
  source: string,
  lacksArchive: (rule: TopicRule) => boolean = () => false,
): readonly TopicRule[] {
  const json = readJsonWithLines(source);
  const refuse = (reason: string, ...path: readonly (string | number)[]): never => {
    throw new JsonLineError(json.lineOf(...path), reason);
  };
  const file = json.value;
  if (!isObject(file)) return refuse('the file must be an object with "rules"');
  for (const name of Object.keys(file)) {
    if (name !== "rules") refuse(`unknown field ${JSON.stringify(name)}; there is only "rules"`, name);
  }
  const { rules } = file;
  if (!Array.isArray(rules))
    return refuse('"rules" must be a list', ...(rules === undefined ? [] : ["rules"]));
  if (rules.length > MAX_RULES) refuse(`"rules" must be at most ${MAX_RULES}`, "rules", MAX_RULES);
  return rules.map((rule: unknown, i) => {
    const refuseRule = (reason: string, ...name: readonly string[]): never =>
      refuse(reason, "rules", i, ...name);
    const read = readRule(rule, refuseRule);
    if (lacksArchive(read)) refuseRule('"archive" needs MESSAGE_ARCHIVE_URL', "archive");
    return read;
  });
}

function readRule(rule: unknown, refuse: (reason: string, ...name: readonly string[]) => never): TopicRule {
  if (!isObject(rule)) return refuse("a rule must be an object");
  if (rule["topics"] === undefined) return refuse('a rule must have "topics"');
  const read: Record<string, unknown> = { ...DEFAULT_TOPIC_RULE };
  for (const [name, value] of Object.entries(rule)) {
    if (!Object.hasOwn(fields, name)) {
      return refuse(
        `unknown field ${JSON.stringify(name)}; a rule may have ${Object.keys(fields).join(", ")}`,
        name,
      );
    }
    if (rule["topics"] === BROADCAST_TOPIC && !broadcastFields.has(name))
      return refuse(`${JSON.stringify(name)} cannot be set for "${BROADCAST_TOPIC}"`, name);
    try {
      read[name] = fields[name as keyof TopicRule](value);
    } catch (error) {
      return refuse(`${JSON.stringify(name)} must be ${error instanceof Error ? error.message : ""}`, name);
    }
  }
  return Object.freeze(read as unknown as TopicRule);
}

function readPattern(value: unknown): string {
  if (typeof value === "string" && (value === BROADCAST_TOPIC || isTopicPattern(value))) return value;
  throw new Error(`a topic's name, or its beginning with "*" at the end, not ${JSON.stringify(value)}`);
}

function wholeNumber(min: number, max: number): ReadField {
  return (value) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    throw new Error(`a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`);
  };
}

function readPresence(value: unknown): string {
  if (presences.some((word) => word === value)) return value as string;
  throw new Error(`one of ${presences.join(", ")}, not ${JSON.stringify(value)}`);
}

function readFlag(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new Error(`true or false, not ${JSON.stringify(value)}`);
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
