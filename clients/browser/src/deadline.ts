// Waits for a promise of the application, with a deadline.
// Guarantees: the answer, or an error at the deadline; whatever comes later is ignored, failures included.

/** @throws what it was rejected with, or an Error that names the time */
export async function within<Value>(promise: PromiseLike<Value>, ms: number): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
