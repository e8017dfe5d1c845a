// chaos: a person is erased while messages come for them, signs in again as a new one, and is sent old messages again.
// Guarantees: the request repeats until it is answered with 204; the record tells the two lives apart.
import { setTimeout as sleep } from "node:timers/promises";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import type { RecordedCluster } from "./recorded-cluster.js";

const ANSWER_DEADLINE_MS = 20_000;
const RETRY_MS = 200;
/** This many of the last accepted messages are sent again under their old keys. */
const SENT_AGAIN = 3;

/** Erasures of one person come one after the other. */
export async function erasePerson(run: RecordedCluster, user: string, signal: AbortSignal): Promise<void> {
  const { cluster, recorder, producer, users } = run;
  users.expectErasure(user);
  const before = recorder.erasures.filter((one) => one.user === user);
  while (before.some(({ endedAtMs }) => endedAtMs === Infinity)) await sleep(RETRY_MS, undefined, { signal });
  const erasure = recorder.erasing(user);
  const isErased = async (): Promise<boolean> => {
    erasure.attempts++;
    const answer = await askService(`${cluster.collect.url}/v1/users/${user}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${cluster.adminKey}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_DEADLINE_MS)]),
    }).catch(() => undefined);
    return answer?.status === 204;
  };
  while (!(await isErased())) await sleep(RETRY_MS, undefined, { signal });
  erasure.endedAtMs = performance.now();
  users.comeBack(user);
  const old = recorder.posts.filter(
    (post) => post.user === user && post.answeredAtMs < erasure.atMs && post.insists && !post.mayExpire,
  );
  for (const { n, mayFallBack } of old.slice(-SENT_AGAIN)) {
    const idempotencyKey = producer.keyOf(n);
    const fallback = mayFallBack ? { fallback: "offline" as const } : {};
    void producer.post({ user, data: { again: true }, insists: true, idempotencyKey, ...fallback });
  }
}
