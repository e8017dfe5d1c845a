// Bench: when the publishers of a round publish.
// Guarantees: every message of the round once.
import type { Publish } from "./measure-round.js";

/** Many connections, so that no message waits for the answer to another. */
const CONNECTIONS = 64;
const TICK_MS = 4;

/** Each publisher posts, waits for its answer, and posts again. @param together messages in one request */
export async function inClosedLoop(
  publish: Publish,
  first: number,
  count: number,
  { publishers, together = 1 }: { readonly publishers: number; readonly together?: number },
): Promise<void> {
  const end = first + count;
  let next = first;
  const loop = async (publisher: number): Promise<void> => {
    for (let n = next; n < end; n = next) {
      next = Math.min(end, n + together);
      await publish(publisher, n, next - n);
    }
  };
  await Promise.all(Array.from({ length: publishers }, (_, publisher) => loop(publisher)));
}

/** Whatever the answers, so many a second. */
export async function atRate(
  publish: Publish,
  first: number,
  count: number,
  perSecond: number,
): Promise<void> {
  const startMs = performance.now();
  const idle = Array.from({ length: CONNECTIONS }, (_, i) => i);
  const waiting: (() => void)[] = [];
  const done: Promise<void>[] = [];
  const send = async (n: number): Promise<void> => {
    while (idle.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    const connection = idle.pop() ?? 0;
    try {
      await publish(connection, n);
    } finally {
      idle.push(connection);
      waiting.shift()?.();
    }
  };
  for (let sent = 0; sent < count;) {
    const due = Math.min(count, Math.ceil(((performance.now() - startMs) * perSecond) / 1000));
    for (; sent < due; sent++) done.push(send(first + sent));
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(done);
}
