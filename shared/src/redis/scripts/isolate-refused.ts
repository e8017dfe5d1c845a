// services/dispatch -> here -> redis/*: a batch for many users, some of whom may have broken keys.
// Guarantees: a user whose keys Redis refuses to work on delays nobody else.
import { isConnectionError } from "../connection/connect.js";

/**
 * Works on all items in one call. If Redis refuses that, works on each part alone.
 * @param work undefined: this process no longer owns the work, and must stop
 * @param onRefused called for each part that is refused alone
 * @param split into parts; by default each item is one
 * @returns the results of `work`, call by call; undefined as soon as one of them is
 * @throws connection errors (see `isConnectionError`): the same call may be sent again
 */
export async function isolateRefused<T, R>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<R | undefined>,
  onRefused: (part: readonly T[], error: unknown) => void | Promise<void>,
  split: (items: readonly T[]) => Iterable<readonly T[]> = eachAlone,
): Promise<R[] | undefined> {
  try {
    const result = await work(items);
    return result === undefined ? undefined : [result];
  } catch (error) {
    if (isConnectionError(error)) throw error;
  }
  const results: R[] = [];
  for (const part of split(items)) {
    try {
      const result = await work(part);
      if (result === undefined) return undefined;
      results.push(result);
    } catch (error) {
      if (isConnectionError(error)) throw error;
      await onRefused(part, error);
    }
  }
  return results;
}

function eachAlone<T>(items: readonly T[]): (readonly T[])[] {
  return items.map((item) => [item]);
}
