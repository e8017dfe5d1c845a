// A service's main.ts -> here -> tls-files: what its listeners speak, as configured.
// Guarantees: settings that do not fit together are refused before anything listens; without any, all is plain HTTP.
import { ConfigError } from "../config.js";
import type { Lifecycle } from "../lifecycle.js";
import type { Logger } from "../logging/logging.js";
import { openTlsFiles, type TlsFiles } from "./tls-files.js";

/** The settings of commonSettings that are about TLS. */
export interface TlsSettings {
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  readonly tlsClientCaFile: string | undefined;
  readonly tlsClientNames: readonly string[];
  readonly metricsTls: "same" | "server" | "off";
  readonly metricsClientCaFile: string | undefined;
}

export interface ListenerTls {
  /** Undefined: plain HTTP, as both. */
  readonly http: TlsFiles | undefined;
  readonly metrics: TlsFiles | undefined;
}

/**
 * For a composition root: what its listeners are to use, closed at the stop.
 * @throws ConfigError where the settings do not fit together, or the files cannot be used
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
      "TLS_CLIENT_NAMES needs TLS_CLIENT_CA_FILE: a name that nobody vouches for says nothing",
    );
  }
  if (certFile === undefined || keyFile === undefined) return { http: undefined, metrics: undefined };
  const open = async (caFile: string | undefined): Promise<TlsFiles> => {
    const names = caFile === undefined ? [] : clientNames;
    const files = await openTlsFiles({ certFile, keyFile, clientCaFile: caFile, clientNames: names, logger });
    lifecycle.onStop("tls files", () => files.close());
    return files;
  };
  return {
    http: await open(clientCaFile),
    metrics:
      metricsTls === "off"
        ? undefined
        : await open(metricsTls === "server" ? undefined : (metricsClientCaFile ?? clientCaFile)),
  };
}
