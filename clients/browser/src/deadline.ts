// A promise of the application's, waited for in bounded time.
// Guarantees: the answer, or an error once the time is over; what comes later is ignored, also where it is a failure.

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
