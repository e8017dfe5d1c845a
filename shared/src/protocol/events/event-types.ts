// The scripts that change a state -> here -> GET /v1/events, webhooks: what senders can be told about.
// Guarantees: neither a type nor its letter is ever changed or reused; scripts and streams use the letter.

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

/** The default of `EVENTS`: each of these is rare compared with delivered messages. */
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
