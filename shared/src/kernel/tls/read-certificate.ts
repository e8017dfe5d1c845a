// tls-files, client-tls-files -> here: what a PEM file says.
// Guarantees: what cannot be used is an error, not found out by the first connection.
import { createPrivateKey, X509Certificate } from "node:crypto";

/**
 * @param pem its first certificate is read
 * @throws where it holds none
 */
export function readCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

/** @throws where the key is none, or another certificate's */
export function checkPair(certificate: string, key: string): void {
  if (!readCertificate(certificate).checkPrivateKey(createPrivateKey(key))) {
    throw new Error("the key is not the certificate's");
  }
}

/** @throws where its time has not begun: whoever is shown it refuses it */
export function checkBegun(certificate: string, nowMs = Date.now()): void {
  const { validFrom } = readCertificate(certificate);
  if (Date.parse(validFrom) > nowMs) throw new Error(`the certificate is not valid before ${validFrom}`);
}
