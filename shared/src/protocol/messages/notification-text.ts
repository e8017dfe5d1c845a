// collect/check-message -> here -> protocol/fallback-entry: a message's notification and its collapse key, in one text.
// Guarantees: what is put together is taken apart again, byte for byte; the notification stays the producer's own text.

/** The member that is put last into the notification's text; a producer's own notification has none of this name. */
const LAST_MEMBER = /,"collapseKey":("(?:[^"\\]|\\.)*")\}$/;

/** @param notification JSON text of an object that is not empty, or "": then there is nothing to collapse */
export function joinCollapseKey(notification: string, collapseKey: string | undefined): string {
  if (notification === "" || collapseKey === undefined) return notification;
  return `${notification.slice(0, -1)},"collapseKey":${JSON.stringify(collapseKey)}}`;
}

export interface CollapsibleNotification {
  /** As the producer wrote it. */
  readonly notification: string;
  /** Of a user's notifications with the same key, a phone shows the newest alone. */
  readonly collapseKey: string | undefined;
}

/**
 * A nested member of this name is followed by more than one brace, and within a string its quotes would be escaped: only
 * what `joinCollapseKey` has put there is found.
 */
export function splitCollapseKey(text: string): CollapsibleNotification {
  const found = LAST_MEMBER.exec(text);
  if (found?.[1] === undefined) return { notification: text, collapseKey: undefined };
  return { notification: `${text.slice(0, found.index)}}`, collapseKey: JSON.parse(found[1]) as string };
}
