// collect/check-message, dispatch/channels/apns -> here: what a sender may say in `notification.apns`, for iPhones
// only.
// Guarantees: whatever passes makes a payload that Apple reads as intended. Unknown members are refused by name, except
// inside `data`. Names inside `aps` are Apple's own:
// https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification

/** apns-push-type -> the suffix that its topic must end with. */
export const apnsPushTypes = Object.freeze({
  alert: "",
  background: "",
  complication: ".complication",
  controls: ".push-type.controls",
  fileprovider: ".pushkit.fileprovider",
  liveactivity: ".push-type.liveactivity",
  location: ".location-query",
  pushtotalk: ".voip-ptt",
  voip: ".voip",
  widgets: ".push-type.widgets",
} as const);

export type ApnsPushType = keyof typeof apnsPushTypes;

/** @returns the longest of Apple's suffixes that the topic ends with; "" for a bare bundle id */
export function suffixOf(topic: string): string {
  return Object.values(apnsPushTypes)
    .filter((suffix) => topic.endsWith(suffix))
    .reduce<string>((longest, suffix) => (suffix.length > longest.length ? suffix : longest), "");
}

export interface ApnsOverrides {
  /** "alert" by default. */
  readonly pushType?: ApnsPushType;
  /** apns-priority; defaults to the message's priority. */
  readonly priority?: 10 | 5 | 1;
  /** Overrides what title, body, badge and sound produce; `alert` is merged member by member. */
  readonly aps?: Readonly<Record<string, unknown>> & { readonly alert?: Readonly<Record<string, unknown>> };
  /** The app's own fields, beside `aps` in the payload. */
  readonly data?: Readonly<Record<string, unknown>>;
}

type Check = (value: unknown) => boolean;

const isString: Check = (value) => typeof value === "string";
const isStrings: Check = (value) => Array.isArray(value) && value.every(isString);
const isInteger: Check = (value) => Number.isSafeInteger(value);
const isOne: Check = (value) => value === 1;
const isZeroOrOne: Check = (value) => value === 0 || value === 1;
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isFraction: Check = (value) => typeof value === "number" && value >= 0 && value <= 1;
const oneOf =
  (...words: readonly unknown[]): Check =>
  (value) =>
    words.includes(value);

const alertMembers: Readonly<Record<string, readonly [Check, string]>> = {
  title: [isString, "a string"],
  subtitle: [isString, "a string"],
  body: [isString, "a string"],
  "launch-image": [isString, "a string"],
  "title-loc-key": [isString, "a string"],
  "title-loc-args": [isStrings, "a list of strings"],
  "subtitle-loc-key": [isString, "a string"],
  "subtitle-loc-args": [isStrings, "a list of strings"],
  "loc-key": [isString, "a string"],
  "loc-args": [isStrings, "a list of strings"],
};

const soundMembers: Readonly<Record<string, readonly [Check, string]>> = {
  critical: [isZeroOrOne, "0 or 1"],
  name: [isString, "a string"],
  volume: [isFraction, "a number from 0 to 1"],
};

const apsMembers: Readonly<Record<string, readonly [Check, string]>> = {
  badge: [(value) => isInteger(value) && (value as number) >= 0, "an integer, at least 0"],
  "thread-id": [isString, "a string"],
  category: [isString, "a string"],
  "content-available": [isOne, "1"],
  "mutable-content": [isOne, "1"],
  "target-content-id": [isString, "a string"],
  "interruption-level": [
    oneOf("passive", "active", "time-sensitive", "critical"),
    "passive, active, time-sensitive or critical",
  ],
  "relevance-score": [(value) => typeof value === "number", "a number"],
  "filter-criteria": [isString, "a string"],
  // For Live Activities, widgets and controls.
  timestamp: [isInteger, "an integer"],
  event: [isString, "a string"],
  "stale-date": [isInteger, "an integer"],
  "dismissal-date": [isInteger, "an integer"],
  "content-state": [isObject, "an object"],
  "content-changed": [(value) => typeof value === "boolean", "true or false"],
  "attributes-type": [isString, "a string"],
  attributes: [isObject, "an object"],
  "input-push-token": [isOne, "1"],
};

/**
 * @param value a notification's `apns`, any JSON
 * @returns what is wrong, beginning with where, such as "aps/badge: must be …"; undefined if all is well
 */
export function checkApnsOverrides(value: unknown): string | undefined {
  if (!isObject(value)) return "must be an object";
  const { pushType, priority, aps, data, ...others } = value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return `${unknown}: is unknown; there are pushType, priority, aps, data`;
  if (pushType !== undefined && !(isString(pushType) && Object.hasOwn(apnsPushTypes, pushType as string))) {
    return `pushType: must be one of ${Object.keys(apnsPushTypes).join(", ")}`;
  }
  if (priority !== undefined && !oneOf(10, 5, 1)(priority)) return "priority: must be 10, 5 or 1";
  if (priority === 10 && pushType === "background") {
    return "priority: must be 5 or 1 for a background push";
  }
  if (data !== undefined && !isObject(data)) return "data: must be an object";
  for (const taken of ["aps", "petrel"]) {
    if (isObject(data) && Object.hasOwn(data, taken)) return `data/${taken}: this name is taken`;
  }
  return aps === undefined ? undefined : checkAps(aps);
}

function checkAps(aps: unknown): string | undefined {
  if (!isObject(aps)) return "aps: must be an object";
  const { alert, sound, ...rest } = aps;
  if (alert !== undefined) {
    const fault = isObject(alert)
      ? checkMembers(alert, alertMembers, "aps/alert/")
      : "aps/alert: must be an object";
    if (fault !== undefined) return fault;
  }
  if (sound !== undefined && typeof sound !== "string") {
    const fault = isObject(sound)
      ? checkMembers(sound, soundMembers, "aps/sound/")
      : "aps/sound: must be a string or an object";
    if (fault !== undefined) return fault;
  }
  return checkMembers(rest, apsMembers, "aps/");
}

function checkMembers(
  value: Readonly<Record<string, unknown>>,
  members: Readonly<Record<string, readonly [Check, string]>>,
  path: string,
): string | undefined {
  for (const [name, member] of Object.entries(value)) {
    const known = Object.hasOwn(members, name) ? members[name] : undefined;
    if (known === undefined) return `${path}${name}: is unknown`;
    const [check, form] = known;
    if (!check(member)) return `${path}${name}: must be ${form}`;
  }
  return undefined;
}
