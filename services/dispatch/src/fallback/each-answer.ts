// fallback-workers, queue-backlog -> here: calls of several partitions, of which some may fail.

/** The results that arrived: one partition's fault must not keep the others from their work. Throws if none did. */
export async function eachAnswer<T>(calls: readonly Promise<T>[]): Promise<(T | undefined)[]> {
  const results = await Promise.allSettled(calls);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined && !results.some(({ status }) => status === "fulfilled")) throw failed.reason;
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
