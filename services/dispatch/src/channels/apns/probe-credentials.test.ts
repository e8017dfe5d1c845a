// Tests what the answers to a probe of APNs' credentials mean.
// Guarantees: only Apple's word about the credential counts against it; a device that does not exist proves it good.
import { systemClock } from "@petrel/shared/kernel/clock";
import { expect, test } from "vitest";
import type { ApnsRequest, ApnsResult } from "./connection/apns-exchange.js";
import { CredentialGate } from "./credentials/credential-gate.js";
import { probeCredentials } from "./probe-credentials.js";

const answered = (status: number, reason: string): ApnsResult => ({
  kind: "answered",
  status,
  reason,
  apnsId: undefined,
  timestampMs: undefined,
  retryAfterMs: undefined,
});

async function probe(result: ApnsResult, topics?: readonly string[]) {
  return probeWith(() => Promise.resolve(result), topics);
}

async function probeWith(
  answer: (signal: AbortSignal) => Promise<ApnsResult>,
  topics?: readonly string[],
  signal = new AbortController().signal,
) {
  const sent: ApnsRequest[] = [];
  const gate = new CredentialGate({
    clock: systemClock,
    haltMs: 1,
    onChange: () => undefined,
    onRest: () => undefined,
  });
  const pool = {
    send: (request: ApnsRequest, until: AbortSignal) => {
      sent.push(request);
      return answer(until);
    },
    state: () => "ready",
    close: () => Promise.resolve(),
  };
  const route = { credential: "K1", environment: "production", topics, pool, gate } as const;
  const probes = await probeCredentials([route as never], signal);
  return { sent, probes };
}

test.each([
  [answered(400, "BadDeviceToken"), undefined, "good"],
  [answered(400, "TopicDisallowed"), undefined, "good"],
  [answered(400, "TopicDisallowed"), ["com.example.app"], "topic-refused"],
  [answered(410, "Unregistered"), ["com.example.app"], "good"],
  [answered(403, "InvalidProviderToken"), undefined, "refused"],
  [answered(403, "ExpiredProviderToken"), undefined, "refused"],
  [answered(403, "BadCertificate"), undefined, "refused"],
  [answered(429, "TooManyProviderTokenUpdates"), undefined, "busy"],
  [answered(503, "ServiceUnavailable"), undefined, "busy"],
  [{ kind: "not-sent", why: "ECONNREFUSED" } as const, undefined, "unreachable"],
  [{ kind: "unanswered", why: "timeout" } as const, undefined, "unreachable"],
])("%j, for %j: %s", async (result, topics, verdict) => {
  const { probes, sent } = await probe(result, topics);
  expect(probes).toMatchObject([{ credential: "K1", environment: "production", verdict }]);
  expect(sent[0]?.path).toBe(`/3/device/${"0".repeat(64)}`);
});

test("tries each topic of a credential", async () => {
  const { sent } = await probe(answered(400, "BadDeviceToken"), ["a.b", "c.d"]);
  expect(sent.map(({ headers }) => headers["apns-topic"])).toEqual(["a.b", "c.d"]);
});

test("a silent Apple is unreachable and does not hold back the other answers", async () => {
  const patience = new AbortController();
  const silent = (signal: AbortSignal): Promise<ApnsResult> =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  const probed = probeWith(silent, ["a.b"], patience.signal);
  patience.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"));
  expect((await probed).probes).toMatchObject([
    { credential: "K1", topic: "a.b", verdict: "unreachable", answer: "no answer in time" },
  ]);
});

test("a fault of our own is not reported as Apple's", async () => {
  await expect(probeWith(() => Promise.reject(new TypeError("a bug")))).rejects.toThrow("a bug");
});
