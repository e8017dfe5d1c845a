// Bench: ends what was started, in the opposite order.
// Guarantees: everything is asked to stop, whatever the others say; the first error is thrown at the end.

export type Stop = () => Promise<void>;

export async function stopAll(stops: readonly Stop[]): Promise<void> {
  const results = await Promise.allSettled([...stops].reverse().map((stop) => stop()));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason as Error;
}

/** Runs `start`; if it fails, what it has started by then is stopped. */
export async function startOrStop<T>(start: (stops: Stop[]) => Promise<T>): Promise<T> {
  const stops: Stop[] = [];
  try {
    return await start(stops);
  } catch (error) {
    await stopAll(stops).catch(() => undefined);
    throw error;
  }
}
