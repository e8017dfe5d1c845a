// archiver, drain-spool -> here: which erasures apply to a row.
// Guarantees: those of its recipient, and of the user whose client published it.
import type { NewRow } from "@petrel/shared/archive/message-archive";

type Concerned = Pick<NewRow, "recipient" | "from">;

export function usersOf(rows: readonly Concerned[]): string[] {
  return [
    ...new Set(rows.flatMap(({ recipient, from }) => (from === undefined ? recipient : [recipient, from]))),
  ];
}

/** @returns undefined if none of these users was erased */
export function erasedUntilOf(
  erased: ReadonlyMap<string, number>,
  { recipient, from }: Concerned,
): number | undefined {
  const theirs = erased.get(recipient);
  const publishers = from === undefined ? undefined : erased.get(from);
  return theirs === undefined || publishers === undefined
    ? (theirs ?? publishers)
    : Math.max(theirs, publishers);
}
