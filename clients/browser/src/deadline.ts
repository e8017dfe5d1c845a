// Waits for one of the application's promises, with a deadline.
// Guarantees: gives the answer, or an error at the deadline; anything later is ignored, failures included.

/** @throws its rejection, or an Error that names the time limit */
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
