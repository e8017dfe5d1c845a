// Tests, the local run's push service -> here: reads a push message as a browser does (RFC 8188, RFC 8291).
// Guarantees: written from the RFCs, sharing nothing with the sender; what does not fit them is an error.
import { createDecipheriv, createECDH, createHmac } from "node:crypto";

/**
 * @param body the `aes128gcm` content coding
 * @param privateKey the subscription's own
 * @param auth its authentication secret
 * @throws where the body is malformed, or was not made for this subscription
 */
export function decryptPush(body: Buffer, privateKey: Buffer, auth: Buffer): Buffer {
  if (body.length < 21) throw new Error("shorter than its header");
  const salt = body.subarray(0, 16);
  const recordSize = body.readUInt32BE(16);
  const senderKey = body.subarray(21, 21 + body.readUInt8(20));
  const record = body.subarray(21 + senderKey.length);
  if (recordSize < 18) throw new Error("record size below 18");
  if (senderKey.length !== 65 || senderKey[0] !== 4) throw new Error("keyid is no uncompressed point");
  if (record.length > recordSize) throw new Error("more than one record");
  if (record.length < 18) throw new Error("the record is too short");
  const browser = createECDH("prime256v1");
  browser.setPrivateKey(privateKey);
  const prkKey = hmac(auth, browser.computeSecret(senderKey));
  const keyInfo = Buffer.concat([Buffer.from("WebPush: info\0"), browser.getPublicKey(), senderKey]);
  const prk = hmac(salt, hmac(prkKey, Buffer.concat([keyInfo, Buffer.from([1])])));
  const expand = (info: string, length: number): Buffer =>
    hmac(prk, Buffer.concat([Buffer.from(`${info}\0`), Buffer.from([1])])).subarray(0, length);
  const decipher = createDecipheriv(
    "aes-128-gcm",
    expand("Content-Encoding: aes128gcm", 16),
    expand("Content-Encoding: nonce", 12),
  );
  decipher.setAuthTag(record.subarray(-16));
  const padded = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()]);
  // Zeros behind the delimiter; 2 says that this record is the last.
  let end = padded.length - 1;
  while (end >= 0 && padded[end] === 0) end--;
  if (padded[end] !== 2) throw new Error("the last record has no delimiter 2");
  return padded.subarray(0, end);
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
