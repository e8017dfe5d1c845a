// A service's main.ts -> here -> tls-files: the TLS of its listeners, as configured.
// Guarantees: settings that do not fit together are refused before anything listens. Without TLS settings, everything
// is plain HTTP. Certificates' expiry is watched.
import { ConfigError } from "../config.js";
import type { Lifecycle } from "../lifecycle/lifecycle.js";
import type { Logger } from "../logging/logging.js";
import { CertificateTimes } from "./certificate-times.js";
import { openTlsFiles, type TlsFiles } from "./tls-files.js";

/** The TLS settings of commonSettings. */
export interface TlsSettings {
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  readonly tlsClientCaFile: string | undefined;
  readonly tlsClientNames: readonly string[];
  readonly metricsTls: "same" | "server" | "off";
  readonly metricsClientCaFile: string | undefined;
  readonly certificateWarnDays: number;
}

export interface ListenerTls {
  /** Undefined means plain HTTP. The same for both listeners. */
  readonly http: TlsFiles | undefined;
  readonly metrics: TlsFiles | undefined;
  /** The listeners' certificates; the service adds those of its connections. */
  readonly certificates: CertificateTimes;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * For a composition root: the TLS of its listeners, closed at the stop.
 * @throws ConfigError if the settings do not fit together, or the files cannot be used
 */
export async function openListenerTls(
  settings: TlsSettings,
  { logger, lifecycle }: { readonly logger: Logger; readonly lifecycle: Pick<Lifecycle, "onStop"> },
): Promise<ListenerTls> {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsClientNames: clientNames, metricsTls } = settings;
  const { tlsClientCaFile: clientCaFile, metricsClientCaFile } = settings;
  if (certFile === undefined || keyFile === undefined) {
    if (certFile !== keyFile) throw new ConfigError("TLS_CERT_FILE and TLS_KEY_FILE are needed together");
    for (const [name, value] of [
      ["TLS_CLIENT_CA_FILE", clientCaFile],
      ["METRICS_CLIENT_CA_FILE", metricsClientCaFile],
    ]) {
      if (value !== undefined) throw new ConfigError(`${name} needs TLS_CERT_FILE and TLS_KEY_FILE`);
    }
  }
  if (clientNames.length > 0 && clientCaFile === undefined && metricsClientCaFile === undefined) {
    throw new ConfigError(
      "TLS_CLIENT_NAMES needs TLS_CLIENT_CA_FILE: a name proves nothing without an authority",
    );
  }
  const certificates = new CertificateTimes({ logger, dueMs: settings.certificateWarnDays * DAY_MS });
  lifecycle.onStop("certificate times", () => certificates.stop());
  if (certFile === undefined || keyFile === undefined) {
    return { http: undefined, metrics: undefined, certificates };
  }
  const open = async (caFile: string | undefined): Promise<TlsFiles> => {
    const names = caFile === undefined ? [] : clientNames;
    const files = await openTlsFiles({ certFile, keyFile, clientCaFile: caFile, clientNames: names, logger });
    lifecycle.onStop("tls files", () => files.close());
    return files;
  };
  const http = await open(clientCaFile);
  const metrics =
    metricsTls === "off"
      ? undefined
      : await open(metricsTls === "server" ? undefined : (metricsClientCaFile ?? clientCaFile));
  certificates.watch(
    { use: "listener", kind: "chain", read: () => http.serverOptions.cert },
    { use: "listener_clients_ca", kind: "authorities", read: () => http.serverOptions.ca },
    { use: "metrics_clients_ca", kind: "authorities", read: () => metrics?.serverOptions.ca },
  );
  return { http, metrics, certificates };
}
