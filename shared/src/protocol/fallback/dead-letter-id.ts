// redis/dead-letters-store -> here: a dead letter's id, as operators see it.
// Guarantees: URL-safe and unique, because it holds the partition, the cause and the stream entry's id.
import { deadLetterCauses, isDeadLetterCause, type DeadLetterCause } from "./dead-letter-causes.js";

export interface DeadLetterPlace {
  readonly partition: number;
  readonly cause: DeadLetterCause;
  /** `ms-n` */
  readonly entryId: string;
}

/** Opaque to callers. It ends in a stream position, as in kernel/page-query. */
export const DEAD_LETTER_ID_PATTERN = `^p\\d{1,5}_(${deadLetterCauses.join("|")})_[1-9]\\d{0,14}-\\d{1,10}$`;

const expression = /^p(\d{1,5})_([a-z-]+)_([1-9]\d{0,14}-\d{1,10})$/;

export function formatDeadLetterId({ partition, cause, entryId }: DeadLetterPlace): string {
  return `p${partition}_${cause}_${entryId}`;
}

/** @returns undefined if the text is not such an id */
export function parseDeadLetterId(id: string): DeadLetterPlace | undefined {
  const [, partition, cause = "", entryId = ""] = expression.exec(id) ?? [];
  if (partition === undefined || !isDeadLetterCause(cause)) return undefined;
  return { partition: Number(partition), cause, entryId };
}
