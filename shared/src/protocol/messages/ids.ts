// Names of users and messages, as they appear in requests, keys and frames.
// Guarantees: a string accepted here has no space, tab, newline, slash or brace, so it can stand in keys and lines.

/**
 * A user's name, chosen by the business system: 1 to 128 characters of `A-Za-z0-9._:@|~+=-`, but not `.` or `..`. In a
 * path those are dot segments (RFC 3986 section 5.2.4), and a client that normalises the path would request something
 * else. Written without a lookahead, which some readers of OpenAPI documents lack.
 */
export const USER_ID_PATTERN =
  "^(?:[A-Za-z0-9_:@|~+=-][A-Za-z0-9._:@|~+=-]{0,127}" +
  "|\\.[A-Za-z0-9_:@|~+=-][A-Za-z0-9._:@|~+=-]{0,126}" +
  "|\\.\\.[A-Za-z0-9._:@|~+=-]{1,126})$";
/** A topic's name: the same form, for the same reason. */
export const TOPIC_PATTERN = USER_ID_PATTERN;

/** A message's id: made by Petrel before the message is stored, 1 to 64 characters. */
export const MESSAGE_ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$";

const userIdExpression = new RegExp(USER_ID_PATTERN);
/** The form that an earlier release accepted; stored data may name such users. */
const storedUserIdExpression = /^[A-Za-z0-9._:@|~+=-]{1,128}$/;
const messageIdExpression = new RegExp(MESSAGE_ID_PATTERN);
const ownMessageIdExpression = /^p(\d{1,5})_[A-Za-z0-9_-]{22}$/;

export function isUserId(text: string): boolean {
  return userIdExpression.test(text);
}

/** Whether a text from storage can be a user's name. */
export function isStoredUserId(text: string): boolean {
  return storedUserIdExpression.test(text);
}

export function isMessageId(text: string): boolean {
  return messageIdExpression.test(text);
}

/**
 * A message id names its partition, so that a look-up by id needs no index.
 * @param partition 0 … P-1
 * @param uniquePart 22 characters of base64url: 128 bits
 */
export function formatMessageId(partition: number, uniquePart: string): string {
  return `p${partition}_${uniquePart}`;
}

/** The partition that a message id names; undefined if the id has another form. */
export function partitionOfMessageId(id: string): number | undefined {
  const match = ownMessageIdExpression.exec(id);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}
