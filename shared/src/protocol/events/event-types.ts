// The scripts that change a state -> here -> GET /v1/events, webhooks: what senders can be told about.
// Guarantees: a type is never renamed or reused, and neither is its letter, by which scripts and streams know it.

const letters = {
  "message.delivered": "d",
  "message.pushed": "p",
  "message.failed": "f",
  "message.expired": "x",
  "message.cancelled": "c",
  "user.online": "n",
  "user.offline": "o",
  "device.invalidated": "i",
  "topic.occupied": "t",
  "topic.vacated": "v",
} as const;

export type EventType = keyof typeof letters;

export const eventTypes = Object.keys(letters) as readonly EventType[];

/** What `EVENTS` writes where it is not set: each of these is rare beside the messages that are delivered. */
export const defaultEventTypes: readonly EventType[] = [
  "message.pushed",
  "message.failed",
  "message.expired",
  "message.cancelled",
  "device.invalidated",
];

const typeOf = new Map(eventTypes.map((type) => [letters[type] as string, type]));

export function isEventType(text: string): text is EventType {
  return Object.hasOwn(letters, text);
}

export function letterOfEvent(type: EventType): string {
  return letters[type];
}

/** @returns undefined for a letter of a later release */
export function eventOfLetter(letter: string): EventType | undefined {
  return typeOf.get(letter);
}
