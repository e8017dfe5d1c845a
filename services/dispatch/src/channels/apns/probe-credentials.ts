// diagnose/read-diagnosis -> apns-channel -> here -> apns-pool: whether Apple can be reached and accepts our keys and
// certificates.
// Guarantees: no phone gets anything, because the request names a device that does not exist. Apple checks the
// credential first, so its answer shows whether that is valid. Changes no gate and no breaker. If Apple is silent until
// `signal` is aborted, that is reported too.
import { randomUUID } from "node:crypto";
import type { ChannelProbe } from "../fallback-channel.js";
import type { ApnsRoute } from "./apns-routes.js";
import type { ApnsResult } from "./connection/apns-exchange.js";
import { judgeApnsAnswer } from "./judge-apns-answer.js";

const NOBODY = "0".repeat(64);
/** Used if a credential is for any app. */
const ANY_TOPIC = "petrel.probe";

export async function probeCredentials(
  routes: readonly ApnsRoute[],
  signal: AbortSignal,
): Promise<ChannelProbe[]> {
  const probes = routes.flatMap((route) =>
    (route.topics ?? [ANY_TOPIC]).map((topic) => probe(route, topic, route.topics !== undefined, signal)),
  );
  return Promise.all(probes);
}

async function probe(
  { credential, environment, pool, gate, expiresAtMs }: ApnsRoute,
  topic: string,
  isOwnTopic: boolean,
  signal: AbortSignal,
): Promise<ChannelProbe> {
  const about = {
    credential,
    environment,
    ...(isOwnTopic ? { topic } : {}),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    isHalted: gate.isHalted,
  };
  const request = {
    path: `/3/device/${NOBODY}`,
    headers: {
      "apns-id": randomUUID(),
      "apns-topic": topic,
      "apns-push-type": "background",
      "apns-priority": "5",
      "apns-expiration": "0",
    },
    body: Buffer.from('{"aps":{"content-available":1}}'),
  };
  const result = await pool.send(request, signal).catch((error: unknown): ApnsResult => {
    if (!signal.aborted) throw error;
    return { kind: "unanswered", why: "no answer in time" };
  });
  if (result.kind !== "answered") return { ...about, verdict: "unreachable", answer: result.why };
  const answer = `${result.status} ${result.reason ?? ""}`.trimEnd();
  const verdict = judgeApnsAnswer(result).kind;
  if (verdict === "halt" || verdict === "renew-token") return { ...about, verdict: "refused", answer };
  if (verdict === "retry" || verdict === "pause-token") return { ...about, verdict: "busy", answer };
  // If the credential is for any app, the topic is made up, so a refusal of the topic says nothing.
  const isForbidden = isOwnTopic && (result.reason === "TopicDisallowed" || result.reason === "BadTopic");
  return { ...about, verdict: isForbidden ? "topic-refused" : "good", answer };
}
