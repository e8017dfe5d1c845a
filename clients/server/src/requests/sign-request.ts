// send-request -> here: signs a request instead of sending the key's secret with it.
// Guarantees: the headers follow docs/send/producers.md; each call has its own nonce, so it works once.
import { createHash, createHmac, randomUUID } from "node:crypto";

export interface RequestToSign {
  /** `KEY.SECRET`. */
  readonly key: string;
  /** Upper case. */
  readonly method: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** As sent: after compression. */
  readonly body: string | Uint8Array;
}

/** @param nowMs the wall clock; the server's may differ by up to 300 s */
export function signRequest(
  { key, method, target, body }: RequestToSign,
  nowMs = Date.now(),
  id: string = randomUUID(),
): Record<string, string> {
  const dot = key.indexOf(".");
  const timestamp = String(Math.floor(nowMs / 1_000));
  const bodySha256 = createHash("sha256").update(body).digest("hex");
  const signature = createHmac("sha256", key.slice(dot + 1))
    .update([id, timestamp, method, target, bodySha256].join("\n"))
    .digest("base64");
  return {
    "petrel-key": key.slice(0, dot),
    "petrel-id": id,
    "petrel-timestamp": timestamp,
    "petrel-signature": `v1,${signature}`,
  };
}
