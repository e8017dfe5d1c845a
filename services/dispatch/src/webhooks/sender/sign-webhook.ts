// webhook-channel, webhooks/post-signed -> here: the headers that prove to a receiver that a request is ours.
// Guarantees: Standard Webhooks 1.0.0 (github.com/standard-webhooks, spec/standard-webhooks.md): the signature covers
// id, time and the body's bytes. One signature for each secret, so that a secret can be rotated without a gap.
import { createHmac, randomBytes } from "node:crypto";

/**
 * @param id the message's; it holds no full stop
 * @param atMs ms since 1970; rounded down to seconds
 * @param secrets keys as bytes; without any, the request is not signed
 */
export function signWebhook(
  id: string,
  atMs: number,
  body: string,
  secrets: readonly Buffer[],
): Record<string, string> {
  const timestamp = String(Math.floor(atMs / 1000));
  const signatures = secrets.map(
    (secret) => `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest("base64")}`,
  );
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    ...(signatures.length === 0 ? {} : { "webhook-signature": signatures.join(" ") }),
  };
}

const PREFIX = "whsec_";
const [MIN_BYTES, MAX_BYTES] = [24, 64];
const NEW_BYTES = 32;

/** A fresh secret, in the form that receivers configure. */
export function makeWebhookSecret(): string {
  return `${PREFIX}${randomBytes(NEW_BYTES).toString("base64")}`;
}

/**
 * @param text `whsec_<base64>` of 24 to 64 bytes; the prefix is optional
 * @returns the key as bytes; undefined if it is not a secret
 */
export function parseWebhookSecret(text: string): Buffer | undefined {
  const encoded = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text;
  const secret = Buffer.from(encoded, "base64");
  // Buffer.from skips characters that are not base64.
  const isBase64 = secret.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  return isBase64 && secret.length >= MIN_BYTES && secret.length <= MAX_BYTES ? secret : undefined;
}

/**
 * @param content of a secrets file: one per line
 * @throws Error whose message completes "FALLBACK_WEBHOOK_SECRET_FILE must …"; it never shows a secret
 */
export function parseWebhookSecrets(content: string): Buffer[] {
  const lines = content
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length === 0) throw new Error("hold a secret: it is empty");
  return lines.map((line, i) => {
    const secret = parseWebhookSecret(line);
    if (secret === undefined) {
      throw new Error(
        `hold ${PREFIX} and the base64 of ${MIN_BYTES} to ${MAX_BYTES} bytes in line ${i + 1}: openssl rand -base64 32`,
      );
    }
    return secret;
  });
}
