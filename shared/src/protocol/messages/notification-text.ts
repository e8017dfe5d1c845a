// collect/check-message -> here -> protocol/fallback-entry: a message's notification, and what else its fallback heeds, in
// one text.
// Guarantees: splitting restores what was joined, byte for byte; the notification stays the producer's own text.

/** The last members of the notification's text; a producer's own notification has none of these names. */
const COLLAPSE_KEY = /,"collapseKey":("(?:[^"\\]|\\.)*")\}$/;
const CHANNELS = /,"channels":(\["[a-z-]+"(?:,"[a-z-]+")*\])\}$/;

export interface FallbackWishes {
  /** Of a user's notifications with one key, a phone shows only the newest. */
  readonly collapseKey?: string | undefined;
  /** Which fallback channels may be asked: their names; absent for all. */
  readonly channels?: readonly string[] | undefined;
}

/**
 * The collapse key comes last: scripts look for it there.
 * @param notification JSON text of a non-empty object, or "" with nothing to send
 */
export function joinNotification(notification: string, { channels, collapseKey }: FallbackWishes): string {
  if (notification === "") return notification;
  let text = notification;
  if (channels !== undefined) text = `${text.slice(0, -1)},"channels":${JSON.stringify(channels)}}`;
  if (collapseKey !== undefined) text = `${text.slice(0, -1)},"collapseKey":${JSON.stringify(collapseKey)}}`;
  return text;
}

export interface SplitNotification {
  /** As the producer wrote it. */
  readonly notification: string;
  readonly collapseKey: string | undefined;
  readonly channels: readonly string[] | undefined;
}

/**
 * A nested member of such a name is followed by more than one brace, and inside a string its quotes are escaped, so this
 * only finds what `joinNotification` added.
 */
export function splitNotification(text: string): SplitNotification {
  const [withChannels, collapseKey] = cutLast(text, COLLAPSE_KEY);
  const [notification, channels] = cutLast(withChannels, CHANNELS);
  return {
    notification,
    collapseKey: collapseKey as string | undefined,
    channels: channels as string[] | undefined,
  };
}

function cutLast(text: string, member: RegExp): [rest: string, value: unknown] {
  const found = member.exec(text);
  if (found?.[1] === undefined) return [text, undefined];
  return [`${text.slice(0, found.index)}}`, JSON.parse(found[1])];
}
