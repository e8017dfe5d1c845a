// certificate-times -> here: the expiry of the certificates in use, as gauges.
// Guarantees: shows what is in use at the time of the scrape; a certificate that does not come from a file has no
// series.
import type { CertificateTime, CertificateTimes } from "../tls/certificate-times.js";
import { Gauge, type Registry } from "./metrics.js";

export function addCertificateGauges(registry: Registry, certificates: CertificateTimes): void {
  const add = (name: string, help: string, msOf: (time: CertificateTime) => number): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ["use"],
        registers: [],
        collect() {
          this.reset();
          for (const time of certificates.all()) this.set({ use: time.use }, msOf(time) / 1_000);
        },
      }),
    );
  };
  add("petrel_certificate_expires_seconds", "When the certificate expires, Unix time", ({ endMs }) => endMs);
  add(
    "petrel_certificate_due_seconds",
    "When the certificate should be replaced, Unix time",
    ({ dueMs }) => dueMs,
  );
}
