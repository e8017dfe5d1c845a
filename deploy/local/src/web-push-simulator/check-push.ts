// push-app -> here: whether a push is acceptable under RFC 8030, 8188, 8291 and 8292.
// Guarantees: written from the RFCs, sharing no code with dispatch's sender. The first problem is named, and nothing of
// a refused push is kept.
import { createDecipheriv, createECDH, createHmac, createPublicKey, verify } from "node:crypto";
import type { Subscription } from "./subscriptions.js";

export type CheckedPush =
  | {
      readonly ok: true;
      readonly ttl: number;
      readonly urgency: string;
      readonly topic: string | null;
      readonly text: string;
    }
  | { readonly ok: false; readonly status: number; readonly reason: string };

export interface PushRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  readonly subscription: Subscription;
  /** The endpoint's origin, which a token must be for. */
  readonly origin: string;
  readonly nowMs: number;
}

/** What every push service must accept (RFC 8030 section 7.2); ours accepts no more. */
const MAX_BODY = 4_096;
const DAY_SECONDS = 24 * 60 * 60;
const URGENCIES = ["very-low", "low", "normal", "high"];

class Refused extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

export function checkPush(request: PushRequest): CheckedPush {
  try {
    checkSender(request);
    const { headers, body, subscription } = request;
    const one = (name: string): string | undefined => {
      const value = headers[name];
      if (Array.isArray(value)) throw new Refused(400, `${name} is there more than once`);
      return value;
    };
    const ttl = one("ttl") ?? "";
    if (!/^\d{1,10}$/.test(ttl)) throw new Refused(400, "TTL must be a number of seconds");
    const urgency = one("urgency") ?? "normal";
    if (!URGENCIES.includes(urgency))
      throw new Refused(400, `Urgency must be one of ${URGENCIES.join(", ")}`);
    const topic = one("topic") ?? null;
    if (topic !== null && !/^[A-Za-z0-9_-]{1,32}$/.test(topic)) {
      throw new Refused(400, "Topic must be 1 to 32 characters of base64url");
    }
    if (one("content-encoding") !== "aes128gcm") throw new Refused(415, "Content-Encoding must be aes128gcm");
    if (body.length > MAX_BODY) throw new Refused(413, `the body has ${body.length} bytes, of ${MAX_BODY}`);
    return { ok: true, ttl: Number(ttl), urgency, topic, text: decrypt(body, subscription).toString("utf8") };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, status: error.status, reason: error.message };
    throw error;
  }
}

/** RFC 8292 sections 2 to 4. */
function checkSender({ headers: { authorization }, subscription, origin, nowMs }: PushRequest): void {
  if (typeof authorization !== "string") throw new Refused(401, "there is no Authorization");
  const [, scheme = "", rest = ""] = /^(\S+) +(.*)$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() !== "vapid") throw new Refused(401, "Authorization must be of the scheme vapid");
  const parameters = new Map(
    rest.split(",").map((part) => {
      const [, name = "", value = ""] = /^\s*([a-z]+)\s*=\s*"?([A-Za-z0-9._-]*)"?\s*$/.exec(part) ?? [];
      return [name, value] as const;
    }),
  );
  const [t = "", k = ""] = [parameters.get("t"), parameters.get("k")];
  const point = Buffer.from(k, "base64url");
  if (point.length !== 65 || point[0] !== 4)
    throw new Refused(401, "k must be an uncompressed point of P-256");
  const [head = "", claims = "", signature = "", ...more] = t.split(".");
  if (more.length > 0) throw new Refused(401, "t must be a JWT");
  if (readJson(head)["alg"] !== "ES256") throw new Refused(401, "the token's alg must be ES256");
  const bytes = Buffer.from(signature, "base64url");
  const signed = Buffer.from(`${head}.${claims}`);
  if (
    bytes.length !== 64 ||
    !verify("sha256", signed, { key: publicKey(point), dsaEncoding: "ieee-p1363" }, bytes)
  ) {
    throw new Refused(401, "the token's signature is wrong");
  }
  const { aud, exp, sub } = readJson(claims);
  if (aud !== origin) throw new Refused(401, `the token's aud must be ${origin}`);
  const nowSeconds = nowMs / 1_000;
  if (typeof exp !== "number" || exp <= nowSeconds) throw new Refused(401, "the token has expired");
  if (exp > nowSeconds + DAY_SECONDS) throw new Refused(401, "the token's exp is more than 24 hours ahead");
  if (sub !== undefined && !(typeof sub === "string" && /^(mailto:|https:)/.test(sub))) {
    throw new Refused(401, "the token's sub must be mailto: or https:");
  }
  // Last: the signature is valid, but the key is not the one that the page subscribed with.
  if (k !== subscription.applicationServerKey) {
    throw new Refused(403, "the subscription is another application server's");
  }
}

function readJson(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString());
    if (typeof value === "object" && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch {
    // Falls through to the error below.
  }
  throw new Refused(401, "t must be a JWT");
}

function publicKey(point: Buffer) {
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) => half.toString("base64url"));
  try {
    return createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
  } catch {
    throw new Refused(401, "k is no point of P-256");
  }
}

/** RFC 8291 sections 3 and 4, by HMAC alone; RFC 8188 section 2. */
function decrypt(body: Buffer, { privateKey, auth }: Subscription): Buffer {
  if (body.length < 21 + 65 + 18) throw new Refused(400, "the body is shorter than its header and a record");
  const salt = body.subarray(0, 16);
  const recordSize = body.readUInt32BE(16);
  if (body.readUInt8(20) !== 65) throw new Refused(400, "the keyid must be the sender's public key");
  const sender = body.subarray(21, 86);
  const record = body.subarray(86);
  if (record.length > recordSize) throw new Refused(400, "a push message is one record");
  const mac = (key: Buffer, ...data: (Buffer | string)[]): Buffer => {
    const hmac = createHmac("sha256", key);
    for (const part of data) hmac.update(part);
    return hmac.digest();
  };
  const end = Buffer.from([1]);
  const browser = createECDH("prime256v1");
  browser.setPrivateKey(privateKey);
  try {
    const shared = browser.computeSecret(sender);
    const ikm = mac(mac(auth, shared), "WebPush: info\0", browser.getPublicKey(), sender, end);
    const prk = mac(salt, ikm);
    const key = mac(prk, "Content-Encoding: aes128gcm\0", end).subarray(0, 16);
    const nonce = mac(prk, "Content-Encoding: nonce\0", end).subarray(0, 12);
    const cipher = createDecipheriv("aes-128-gcm", key, nonce);
    cipher.setAuthTag(record.subarray(-16));
    const padded = Buffer.concat([cipher.update(record.subarray(0, -16)), cipher.final()]);
    const delimiter = padded.findLastIndex((byte) => byte !== 0);
    if (padded[delimiter] === 2) return padded.subarray(0, delimiter);
  } catch {
    throw new Refused(400, "the body was not encrypted for this subscription");
  }
  throw new Refused(400, "the last record's delimiter must be 2");
}
