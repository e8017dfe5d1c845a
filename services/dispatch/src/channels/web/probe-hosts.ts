// diagnose/read-diagnosis -> web-channel -> here -> webhooks/sender: whether the push services can be reached and
// accept our key.
// Guarantees: no browser gets anything, because the request names a subscription that does not exist, and is empty.
// Contacts only hosts of WEB_PUSH_HOSTS. Changes no breaker. A push service that is silent until `signal` is aborted is
// reported too.
import type { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import type { PostAnswer } from "../../webhooks/sender/webhook-sender.js";
import type { ChannelProbe } from "../fallback-channel.js";
import { judgePushAnswer } from "./judge-push-answer.js";
import type { SendToBrowserDeps } from "./send-to-browser.js";

export type ProbeHostsDeps = Pick<SendToBrowserDeps, "senders" | "vapid" | "clock"> & {
  readonly hosts: Pick<PushHosts, "judge">;
};

/** The hosts of the browser vendors' subscriptions, and how their paths begin. Microsoft's hosts differ by region. */
const known: readonly { readonly host: string; readonly path: string }[] = [
  { host: "fcm.googleapis.com", path: "/fcm/send/" },
  { host: "updates.push.services.mozilla.com", path: "/wpush/v2/" },
  { host: "web.push.apple.com", path: "/" },
];
const NOBODY = "petrel-probe";

/**
 * @param entries see WEB_PUSH_HOSTS
 * @returns an address for each push service that can be named; none for `*.example.com`, whose hosts are unknown
 */
export function probeEndpoints(entries: readonly string[]): string[] {
  return entries.flatMap((entry) => {
    if (entry.includes("://")) return [`${entry}/${NOBODY}`];
    const isPattern = entry.startsWith("*");
    const found = known.filter(({ host }) => (isPattern ? host.endsWith(entry.slice(1)) : host === entry));
    const hosts = isPattern || found.length > 0 ? found : [{ host: entry, path: "/" }];
    return hosts.map(({ host, path }) => `https://${host}${path}${NOBODY}`);
  });
}

export function probeHosts(
  deps: ProbeHostsDeps,
  endpoints: readonly string[],
  signal: AbortSignal,
): Promise<ChannelProbe[]> {
  return Promise.all(endpoints.map((endpoint) => probe(deps, endpoint, signal)));
}

async function probe(
  { hosts, senders, vapid, clock }: ProbeHostsDeps,
  endpoint: string,
  signal: AbortSignal,
): Promise<ChannelProbe> {
  const { host, origin } = new URL(endpoint);
  const about = { credential: "the VAPID key", environment: host, isHalted: false };
  const judged = hosts.judge(endpoint);
  const sender = judged.ok && judged.isNamed ? senders.named : senders.open;
  const headers = {
    authorization: vapid.authorize(origin),
    "content-type": "application/octet-stream",
    ttl: "0",
    urgency: "very-low",
  };
  const answer = await sender
    .post({ url: endpoint, headers, body: "" }, signal)
    .catch((error: unknown): PostAnswer => {
      if (!signal.aborted) throw error;
      return { error: "no answer in time", kind: "timeout" };
    });
  if ("error" in answer) return { ...about, verdict: "unreachable", answer: answer.error };
  const { kind } = judgePushAnswer(answer.status, answer.retryAfter, clock.wallMs());
  // Some check the subscription before the key: an unknown subscription then only proves that they can be reached.
  const verdict = kind === "halted" ? "refused" : kind === "retry" ? "busy" : "good";
  return { ...about, verdict, answer: `HTTP ${answer.status}` };
}
