// The local run: is a service ready?
// Guarantees: asks /health/ready until it answers 200 or the signal is aborted; one request at a time.
import { setTimeout as sleep } from "node:timers/promises";

const answerDeadlineMs = 2_000;

/**
 * @param origin such as http://127.0.0.1:7101
 * @throws the signal's reason
 */
export async function awaitHealth(origin: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    if (await isReady(origin, signal)) return;
    await sleep(50, undefined, { signal });
  }
}

async function isReady(origin: string, signal: AbortSignal): Promise<boolean> {
  const question = new AbortController();
  const giveUp = (): void => question.abort();
  const timer = setTimeout(giveUp, answerDeadlineMs);
  signal.addEventListener("abort", giveUp);
  try {
    const response = await fetch(`${origin}/health/ready`, {
      signal: question.signal,
      // Otherwise a stop soon after would wait for this idle connection.
      headers: { connection: "close" },
    });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
  }
}
