// Tests which secrets sign: the current one, and each former one until its overlap is over.
import { randomBytes } from "node:crypto";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import { expect, test } from "vitest";
import { makeWebhookSecret, parseWebhookSecret } from "./sender/sign-webhook.js";
import { WebhookSecrets } from "./webhook-secrets.js";

test("a previous secret signs until its overlap is over, and not a millisecond longer", () => {
  const secrets = new WebhookSecrets(createAtRestCipher(randomBytes(32)));
  const [present, before, long] = [makeWebhookSecret(), makeWebhookSecret(), makeWebhookSecret()];
  const record: WebhookRecord = {
    id: "wh_1",
    url: "https://example.test/",
    types: null,
    description: null,
    paused: false,
    pausedReason: null,
    createdAtMs: 0,
    sealedSecret: secrets.seal("wh_1", present),
    former: [
      { sealedSecret: secrets.seal("wh_1", before), untilMs: 1_000 },
      { sealedSecret: secrets.seal("wh_1", long), untilMs: 500 },
    ],
    era: 0,
    replay: null,
  };
  const keys = (...some: readonly string[]) => some.map((one) => parseWebhookSecret(one));
  expect(secrets.open(record, 499)).toEqual(keys(present, before, long));
  expect(secrets.open(record, 500)).toEqual(keys(present, before));
  expect(secrets.open(record, 999)).toEqual(keys(present, before));
  expect(secrets.open(record, 1_000)).toEqual(keys(present));
});
