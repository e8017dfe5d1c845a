// tls-files, client-tls-files -> here: reads a PEM file.
// Guarantees: an unusable file is an error now, not at the first connection.
import { createPrivateKey, X509Certificate } from "node:crypto";

/**
 * @param pem its first certificate is read
 * @throws if it holds none
 */
export function readCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

/** @throws if the key is invalid, or belongs to another certificate */
export function checkPair(certificate: string, key: string): void {
  if (!readCertificate(certificate).checkPrivateKey(createPrivateKey(key))) {
    throw new Error("the key does not match the certificate");
  }
}

/** @throws if it is not valid yet: every peer would refuse it */
export function checkBegun(certificate: string, nowMs = Date.now()): void {
  const { validFrom } = readCertificate(certificate);
  if (Date.parse(validFrom) > nowMs) throw new Error(`the certificate is not valid before ${validFrom}`);
}
