// collect/check-message -> here -> protocol/fallback-entry: a message's notification and its fallback options, in one
// text.
// Guarantees: splitting restores what was joined, byte for byte; the notification stays the producer's own text.

/** Matches the last members of the joined text; a producer's own notification has none of these names. */
const COLLAPSE_KEY = /,"collapseKey":("(?:[^"\\]|\\.)*")\}$/;
const CHANNELS = /,"channels":(\["[a-z-]+"(?:,"[a-z-]+")*\])\}$/;

export interface FallbackWishes {
  /** A phone shows only the newest of a user's notifications with one key. */
  readonly collapseKey?: string | undefined;
  /** The fallback channels that may be asked; absent means all. */
  readonly channels?: readonly string[] | undefined;
}

/**
 * The collapse key comes last, where scripts look for it.
 * @param notification JSON text of a non-empty object, or "" if there is nothing to send
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
 * Finds only what `joinNotification` added: a nested member of such a name is followed by more than one brace, and
 * inside a string its quotes are escaped.
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
