// Tests only: authorities made on the spot, and their certificates for any time.
// Guarantees: P-256 and SHA-256; nothing trusts them unless a test says so; no two have the same key.
import { createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import type { TestIdentity } from "./tls-identities.js";

export interface TestAuthority {
  /** Its own certificate, PEM. */
  readonly cert: string;
  /** For localhost and 127.0.0.1, as a server and as a client. */
  issue(commonName: string, life?: CertificateLife): TestIdentity;
}

/** Since yesterday and for a year, by default. */
export interface CertificateLife {
  readonly fromMs?: number;
  readonly untilMs?: number;
}

const DAY_MS = 86_400_000;
const [SEQUENCE, SET, INTEGER, OID, UTF8, BITS, OCTETS, BOOLEAN, TIME] = [
  0x30, 0x31, 0x02, 0x06, 0x0c, 0x03, 0x04, 0x01, 0x18,
] as const;
const ECDSA_WITH_SHA256 = der(SEQUENCE, oid("2a8648ce3d040302"));
const COMMON_NAME = oid("550403");
const BASIC_CONSTRAINTS = oid("551d13");
const SUBJECT_ALT_NAME = oid("551d11");
const TRUE = der(BOOLEAN, Buffer.from([0xff]));
const LOCAL_NAMES = der(
  SEQUENCE,
  der(0x82, Buffer.from("localhost")),
  der(0x87, Buffer.from([127, 0, 0, 1])),
);

export function makeAuthority(commonName: string, life: CertificateLife = {}): TestAuthority {
  const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certify = (subject: string, key: KeyObject, isAuthority: boolean, of: CertificateLife): string =>
    toPem(
      makeCertificate({ issuer: commonName, issuerKey: own.privateKey, subject, key, isAuthority, ...of }),
    );
  return {
    cert: certify(commonName, own.privateKey, true, life),
    issue(subject, of = {}) {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return {
        cert: certify(subject, privateKey, false, of),
        key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      };
    },
  };
}

interface CertificateContent extends CertificateLife {
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly subject: string;
  /** Private; the certificate holds its public part. */
  readonly key: KeyObject;
  readonly isAuthority: boolean;
}

function makeCertificate(content: CertificateContent): Buffer {
  const { issuer, issuerKey, subject, key, isAuthority } = content;
  const { fromMs = Date.now() - DAY_MS, untilMs = Date.now() + 365 * DAY_MS } = content;
  const serial = Buffer.concat([Buffer.from([0x01]), randomBytes(15)]);
  const extension = isAuthority
    ? der(SEQUENCE, BASIC_CONSTRAINTS, TRUE, der(OCTETS, der(SEQUENCE, TRUE)))
    : der(SEQUENCE, SUBJECT_ALT_NAME, der(OCTETS, LOCAL_NAMES));
  const signed = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, serial),
    ECDSA_WITH_SHA256,
    nameOf(issuer),
    der(SEQUENCE, timeOf(fromMs), timeOf(untilMs)),
    nameOf(subject),
    createPublicKey(key).export({ type: "spki", format: "der" }),
    der(0xa3, der(SEQUENCE, extension)),
  );
  return der(SEQUENCE, signed, ECDSA_WITH_SHA256, bits(sign("sha256", signed, issuerKey)));
}

function nameOf(commonName: string): Buffer {
  return der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8, Buffer.from(commonName)))));
}

/** YYYYMMDDhhmmssZ */
function timeOf(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]/g, "").slice(0, 14);
  return der(TIME, Buffer.from(`${digits}Z`));
}

function bits(bytes: Buffer): Buffer {
  return der(BITS, Buffer.from([0]), bytes);
}

function oid(hex: string): Buffer {
  return der(OID, Buffer.from(hex, "hex"));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

function toPem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
