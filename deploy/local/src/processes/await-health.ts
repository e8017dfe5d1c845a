// The local run: is a service ready?
// Guarantees: asks /health/ready until it answers 200 or the signal is aborted; one request at a time.
import { setTimeout as sleep } from "node:timers/promises";
import { requestBounded } from "@petrel/shared/kernel/calls/request-bounded";

const answerDeadlineMs = 2_000;
const answerMaxBytes = 65_536;

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
  try {
    const { status } = await requestBounded(new URL(`${origin}/health/ready`), {
      method: "GET",
      // Otherwise a stop soon after would wait for this idle connection.
      headers: { connection: "close" },
      timeoutMs: answerDeadlineMs,
      maxBytes: answerMaxBytes,
      signal,
    });
    return status === 200;
  } catch {
    return false;
  }
}
