// Tests by which sender a push goes: only an origin that the operator names may be at a private address.
import { createECDH, generateKeyPairSync } from "node:crypto";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import { expect, test } from "vitest";
import { job } from "../../testing/channel-conformance.js";
import { HostBreaker } from "./host-breaker.js";
import { sendToBrowser } from "./send-to-browser.js";
import { VapidTokens } from "./vapid-tokens.js";

test.each([
  ["https://push.example.com/1", ["open https://push.example.com/1"]],
  ["http://127.0.0.1:7129/1", ["named http://127.0.0.1:7129/1"]],
  ["http://127.0.0.1:7130/1", []],
])("%s: %j", async (endpoint, posted) => {
  const posts: string[] = [];
  const sender = (name: string) => ({
    post: ({ url }: { readonly url: string }) => {
      posts.push(`${name} ${url}`);
      return Promise.resolve({ status: 201, retryAfter: null });
    },
  });
  const deps = {
    hosts: new PushHosts(["push.example.com", "http://127.0.0.1:7129"]),
    senders: { open: sender("open"), named: sender("named") },
    vapid: new VapidTokens({
      key: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
      subject: "mailto:a@b.example",
      clock: systemClock,
    }),
    breaker: new HostBreaker({ clock: systemClock }),
    invalidations: { forget: () => undefined },
    devices: { touch: () => Promise.resolve() },
    metrics: { sent: () => undefined },
    logger: createLogger({ service: "test", level: "silent" }),
    clock: systemClock,
    tracing: NO_TRACING,
  };
  const device = {
    platform: "web",
    id: "d_1",
    registeredAtMs: 0,
    lastSeenAtMs: 0,
    endpoint,
    p256dh: createECDH("prime256v1").generateKeys().toString("base64url"),
    auth: "AAAAAAAAAAAAAAAAAAAAAA",
  } as const;
  const result = await sendToBrowser(deps, job, Buffer.from("{}"), device, new AbortController().signal);
  expect(posts).toEqual(posted);
  expect(result.kind).toBe(posted.length === 0 ? "gone" : "taken");
});
