// listener-tls, redis-access and client-tls-files -> here: when the certificates in use expire.
// Guarantees: each certificate gets one log line when it should have been replaced and one when it has expired, however
// often it is checked.
import { X509Certificate } from "node:crypto";
import { type Clock, systemClock } from "../clock.js";
import { describeError } from "../errors.js";
import type { Logger } from "../logging/logging.js";

/** What is in use now: a certificate with its chain, or a set of authorities. */
export interface WatchedCertificates {
  /** A name for logs and the gauge's label, such as `listener`. */
  readonly use: string;
  /**
   * A chain expires with the first of its certificates. A set of authorities expires with the last, because new ones
   * may stand beside old ones.
   */
  readonly kind: "chain" | "authorities";
  /** PEM; undefined while there is none. */
  readonly read: () => string | undefined;
}

export interface CertificateTimesOptions {
  readonly logger: Pick<Logger, "warn">;
  /** How long before its expiry a certificate should have been replaced, ms; at most a quarter of its life. */
  readonly dueMs: number;
  readonly clock?: Clock;
}

export interface CertificateTime {
  readonly use: string;
  readonly endMs: number;
  /** From then on it should have been replaced. */
  readonly dueMs: number;
}

interface Times {
  readonly subject: string;
  readonly validTo: string;
  readonly fingerprint: string;
  readonly endMs: number;
  /** From then on it should have been replaced. */
  readonly dueMs: number;
}

const LOOK_EVERY_MS = 60_000;
/** A certificate that lives for an hour is renewed by a machine, so a warning 14 days ahead makes no sense. */
const SHARE_OF_LIFE = 0.25;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export class CertificateTimes {
  readonly #options: CertificateTimesOptions;
  readonly #clock: Clock;
  readonly #watched: WatchedCertificates[] = [];
  /** use -> what its PEM said */
  readonly #known = new Map<string, { readonly pem: string; readonly times: Times | undefined }>();
  /** use -> what was last logged about it */
  readonly #said = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CertificateTimesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  watch(...certificates: readonly WatchedCertificates[]): void {
    this.#watched.push(...certificates);
    this.look();
    this.#timer ??= setInterval(() => this.look(), LOOK_EVERY_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One entry for each certificate that is in use now. */
  all(): readonly CertificateTime[] {
    return this.#watched.flatMap((certificates) => {
      const times = this.#timesOf(certificates);
      return times === undefined ? [] : [{ use: certificates.use, endMs: times.endMs, dueMs: times.dueMs }];
    });
  }

  /** Logs certificates that are due or expired. */
  look(): void {
    const nowMs = this.#clock.wallMs();
    for (const certificates of this.#watched) {
      const { use } = certificates;
      const times = this.#timesOf(certificates);
      if (times === undefined || nowMs < times.dueMs) continue;
      const isOver = nowMs >= times.endMs;
      const mark = `${times.fingerprint} ${isOver}`;
      if (this.#said.get(use) === mark) continue;
      this.#said.set(use, mark);
      const { subject, validTo } = times;
      this.#options.logger.warn(
        { use, subject, validTo },
        isOver ? "tls: a certificate has expired" : "tls: a certificate expires soon",
      );
    }
  }

  #timesOf({ use, kind, read }: WatchedCertificates): Times | undefined {
    const pem = read();
    if (pem === undefined) return undefined;
    const known = this.#known.get(use);
    if (known?.pem === pem) return known.times;
    try {
      const times = readTimes(pem, kind, this.#options.dueMs);
      this.#known.set(use, { pem, times });
      return times;
    } catch (error) {
      // Its user has checked only the first certificate; a later one may be invalid.
      this.#known.set(use, { pem, times: undefined });
      this.#options.logger.warn({ use, reason: describeError(error) }, "tls: a certificate cannot be read");
      return undefined;
    }
  }
}

function readTimes(pem: string, kind: WatchedCertificates["kind"], mostMs: number): Times {
  const all = (pem.match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
  const byEnd = all.toSorted((a, b) => Date.parse(a.validTo) - Date.parse(b.validTo));
  const one = byEnd.at(kind === "chain" ? 0 : -1);
  if (one === undefined) throw new Error("there is no certificate");
  const endMs = Date.parse(one.validTo);
  const lifeMs = endMs - Date.parse(one.validFrom);
  return {
    subject: one.subject,
    validTo: one.validTo,
    fingerprint: one.fingerprint256,
    endMs,
    dueMs: endMs - Math.min(mostMs, lifeMs * SHARE_OF_LIFE),
  };
}
