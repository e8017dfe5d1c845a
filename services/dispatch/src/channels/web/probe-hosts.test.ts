// Tests what `petrel doctor` asks of the push services.
// Guarantees: asks for a subscription that does not exist, only where WEB_PUSH_HOSTS says; each answer has its verdict.
import { generateKeyPairSync } from "node:crypto";
import { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import { expect, test } from "vitest";
import type { PostAnswer, WebhookPost } from "../../webhooks/sender/webhook-sender.js";
import { probeEndpoints, probeHosts } from "./probe-hosts.js";
import { VapidTokens } from "./vapid-tokens.js";

const DEFAULT_HOSTS = [
  "fcm.googleapis.com",
  "*.push.services.mozilla.com",
  "*.push.apple.com",
  "*.notify.windows.com",
];
const clock = { wallMs: () => 1_700_000_000_000, monotonicMs: () => 0 };
const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });

async function probeWith(
  entries: readonly string[],
  post: (asked: WebhookPost, signal: AbortSignal) => Promise<PostAnswer>,
  signal = new AbortController().signal,
) {
  const asked: (WebhookPost & { readonly by: "open" | "named" })[] = [];
  const senderOf = (by: "open" | "named") => ({
    post: (one: WebhookPost, ending: AbortSignal) => {
      asked.push({ ...one, by });
      return post(one, ending);
    },
  });
  const deps = {
    hosts: new PushHosts(entries),
    senders: { open: senderOf("open"), named: senderOf("named") },
    vapid: new VapidTokens({ key, subject: "mailto:ops@shop.example", clock }),
    clock,
  };
  return { asked, probes: await probeHosts(deps, probeEndpoints(entries), signal) };
}

const answered = (status: number): PostAnswer => ({ status, retryAfter: null });

test("asks the browser vendors' push services at their subscription hosts, by an empty push to nobody", async () => {
  const { asked, probes } = await probeWith(DEFAULT_HOSTS, () => Promise.resolve(answered(404)));
  expect(asked.map(({ url, by }) => [url, by])).toEqual([
    ["https://fcm.googleapis.com/fcm/send/petrel-probe", "open"],
    ["https://updates.push.services.mozilla.com/wpush/v2/petrel-probe", "open"],
    ["https://web.push.apple.com/petrel-probe", "open"],
  ]);
  for (const { body, headers } of asked) {
    expect([body, headers["ttl"]]).toEqual(["", "0"]);
    expect(headers["authorization"]).toMatch(/^vapid t=.+, k=.+$/);
  }
  expect(probes.map(({ environment, verdict }) => [environment, verdict])).toEqual([
    ["fcm.googleapis.com", "good"],
    ["updates.push.services.mozilla.com", "good"],
    ["web.push.apple.com", "good"],
  ]);
});

test("a named origin may be private; an unknown host is asked as it stands, an unknown pattern is not", () => {
  expect(
    probeEndpoints(["http://127.0.0.1:7107", "push.example.com", "*.example.org", "googleapis.com"]),
  ).toEqual([
    "http://127.0.0.1:7107/petrel-probe",
    "https://push.example.com/petrel-probe",
    "https://googleapis.com/petrel-probe",
  ]);
});

test("asks what the operator names through the sender that may reach private addresses", async () => {
  const { asked } = await probeWith(["http://127.0.0.1:7107"], () => Promise.resolve(answered(404)));
  expect(asked.map(({ by }) => by)).toEqual(["named"]);
});

test.each<[PostAnswer, string, string]>([
  [answered(201), "good", "HTTP 201"],
  [answered(400), "good", "HTTP 400"],
  [answered(410), "good", "HTTP 410"],
  [answered(401), "refused", "HTTP 401"],
  [answered(403), "refused", "HTTP 403"],
  [answered(429), "busy", "HTTP 429"],
  [answered(503), "busy", "HTTP 503"],
  [{ error: "ECONNREFUSED", kind: "failed" }, "unreachable", "ECONNREFUSED"],
])("%j: %s", async (given, verdict, answer) => {
  const { probes } = await probeWith(["fcm.googleapis.com"], () => Promise.resolve(given));
  expect(probes).toEqual([
    { credential: "the VAPID key", environment: "fcm.googleapis.com", isHalted: false, verdict, answer },
  ]);
});

test("a silent one is unreachable and does not hold back the other answers", async () => {
  const patience = new AbortController();
  const probed = probeWith(
    ["fcm.googleapis.com", "push.example.com"],
    ({ url }, signal) =>
      url.includes("googleapis")
        ? new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)))
        : Promise.resolve(answered(404)),
    patience.signal,
  );
  patience.abort(new Error("late"));
  expect((await probed).probes.map(({ verdict, answer }) => [verdict, answer])).toEqual([
    ["unreachable", "no answer in time"],
    ["good", "HTTP 404"],
  ]);
});

test("a fault of our own is not reported as theirs", async () => {
  const broken = probeWith(["fcm.googleapis.com"], () => Promise.reject(new TypeError("a bug")));
  await expect(broken).rejects.toThrow("a bug");
});
