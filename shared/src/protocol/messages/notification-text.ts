// collect/check-message -> here -> protocol/fallback-entry: a message's notification and its collapse key, in one text.
// Guarantees: splitting restores what was joined, byte for byte; the notification stays the producer's own text.

/** The last member of the notification's text; a producer's own notification has none of this name. */
const LAST_MEMBER = /,"collapseKey":("(?:[^"\\]|\\.)*")\}$/;

/** @param notification JSON text of a non-empty object, or "" with nothing to collapse */
export function joinCollapseKey(notification: string, collapseKey: string | undefined): string {
  if (notification === "" || collapseKey === undefined) return notification;
  return `${notification.slice(0, -1)},"collapseKey":${JSON.stringify(collapseKey)}}`;
}

export interface CollapsibleNotification {
  /** As the producer wrote it. */
  readonly notification: string;
  /** Of a user's notifications with one key, a phone shows only the newest. */
  readonly collapseKey: string | undefined;
}

/**
 * A nested member of this name is followed by more than one brace, and inside a string its quotes are escaped, so this
 * only finds what `joinCollapseKey` added.
 */
export function splitCollapseKey(text: string): CollapsibleNotification {
  const found = LAST_MEMBER.exec(text);
  if (found?.[1] === undefined) return { notification: text, collapseKey: undefined };
  return { notification: `${text.slice(0, found.index)}}`, collapseKey: JSON.parse(found[1]) as string };
}
