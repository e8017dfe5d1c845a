// services/{dispatch,push-node} -> here -> redis/*: a batch for many users, one of whom may have broken keys.
// Guarantees: a user whom Redis refuses to work on holds up nobody else.
import { isConnectionError } from "../connection/connect.js";

/**
 * Works on all items in one call. Where Redis refuses that, works on each alone.
 * @param work undefined: the work is not ours any more, nothing may follow
 * @param onRefused told of each item that is refused alone
 * @returns what `work` answered, call by call; undefined as soon as `work` is
 * @throws connection errors (see `isConnectionError`): the same call may be sent again
 */
export async function isolateRefused<T, R>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<R | undefined>,
  onRefused: (item: T, error: unknown) => void | Promise<void>,
): Promise<R[] | undefined> {
  try {
    const result = await work(items);
    return result === undefined ? undefined : [result];
  } catch (error) {
    if (isConnectionError(error)) throw error;
  }
  const results: R[] = [];
  for (const item of items) {
    try {
      const result = await work([item]);
      if (result === undefined) return undefined;
      results.push(result);
    } catch (error) {
      if (isConnectionError(error)) throw error;
      await onRefused(item, error);
    }
  }
  return results;
}
