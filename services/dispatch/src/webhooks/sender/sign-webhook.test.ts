// Tests signatures against the vector that the specification's libraries share, and what counts as a secret.
import { expect, describe, test } from "vitest";
import { makeWebhookSecret, parseWebhookSecret, parseWebhookSecrets, signWebhook } from "./sign-webhook.js";

test("matches the vector of the Standard Webhooks libraries", () => {
  const secret = parseWebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  if (secret === undefined) throw new Error("not read");
  expect(
    signWebhook("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, '{"test": 2432232314}', [secret]),
  ).toEqual({
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

test("has a signature for each secret, the newest first; none without", () => {
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const sign = (...secrets: Buffer[]) => signWebhook("m", 0, "{}", secrets)["webhook-signature"];
  expect(sign(one, two)).toBe(`${sign(one)} ${sign(two)}`);
  expect(signWebhook("m", 0, "{}", [])).not.toHaveProperty("webhook-signature");
});

test("a generated secret can be read, and is never the same", () => {
  const [one, two] = [makeWebhookSecret(), makeWebhookSecret()];
  expect(one).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(parseWebhookSecret(one)).toHaveLength(32);
  expect(one).not.toBe(two);
});

describe("a secrets file", () => {
  const secret = Buffer.alloc(32, 7).toString("base64");

  test("holds one secret a line, with the prefix or without", () => {
    expect(parseWebhookSecrets(`whsec_${secret}\n\n  ${secret}\r\n`)).toEqual([
      Buffer.alloc(32, 7),
      Buffer.alloc(32, 7),
    ]);
  });

  test.each([
    "",
    "\n \n",
    "hunter2",
    "whsec_",
    `whsec_${Buffer.alloc(23).toString("base64")}`,
    "!".repeat(44),
  ])("refuses %j without repeating it", (content) => {
    const parse = (): unknown => parseWebhookSecrets(content);
    expect(parse).toThrow(/^hold /);
    const secret = content.trim().replace("whsec_", "");
    if (secret !== "") expect(parse).not.toThrow(secret);
  });

  test("refuses a secret that is too long", () => {
    expect(() => parseWebhookSecrets(Buffer.alloc(65).toString("base64"))).toThrow(/line 1/);
  });
});
