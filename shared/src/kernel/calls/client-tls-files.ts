// request-bounded -> here: the authorities that a service trusts for its calls and the certificate it shows, from
// files that may change at run time.
// Guarantees: a change applies to calls within seconds; unusable files are logged, and the previous ones stay in use.
import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { type Clock, systemClock } from "../clock.js";
import { ConfigError } from "../config.js";
import { describeError } from "../errors.js";
import type { Logger } from "../logging/logging.js";
import type { WatchedCertificates } from "../tls/certificate-times.js";
import { checkBegun, checkPair, readCertificate } from "../tls/read-certificate.js";

export interface ClientTlsOptions {
  /** PEM: authorities of servers, instead of the system's own. */
  readonly caFile?: string | undefined;
  /** PEM: what to show a server that asks for a certificate; needs its key. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly logger: Logger;
  readonly clock?: Clock;
}

interface Texts {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

const LOOK_AGAIN_MS = 5_000;

export class ClientTlsFiles {
  readonly #options: ClientTlsOptions;
  readonly #clock: Clock;
  #texts: Texts;
  #agent: Agent;
  #lookedAtMs: number;
  #refused = "";

  /** @throws ConfigError if the files cannot be read, or do not belong together */
  constructor(options: ClientTlsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    if ((options.certFile === undefined) !== (options.keyFile === undefined)) {
      throw new ConfigError("a client certificate and its key are needed together");
    }
    try {
      this.#texts = this.#read();
    } catch (error) {
      throw new ConfigError(`client TLS files: ${describeError(error)}`);
    }
    this.#agent = agentOf(this.#texts);
    this.#lookedAtMs = this.#clock.monotonicMs();
  }

  /** For new calls; calls in progress keep theirs. */
  get agent(): Agent {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_AGAIN_MS) return this.#agent;
    this.#lookedAtMs = nowMs;
    try {
      const { ca, cert, key } = this.#read();
      this.#refused = "";
      if (ca === this.#texts.ca && cert === this.#texts.cert && key === this.#texts.key) return this.#agent;
      this.#texts = { ca, cert, key };
      this.#agent = agentOf(this.#texts);
      this.#options.logger.info(
        { certFile: this.#options.certFile },
        "tls: new client certificates are in use",
      );
    } catch (error) {
      const reason = describeError(error);
      if (reason !== this.#refused) {
        const { caFile, certFile, keyFile } = this.#options;
        this.#options.logger.warn({ caFile, certFile, keyFile, reason }, "tls: client files cannot be used");
      }
      this.#refused = reason;
    }
    return this.#agent;
  }

  /** What new calls use. @param use what the calls are for, such as `auth` */
  watchedAs(use: string): readonly WatchedCertificates[] {
    const now = (): Texts => {
      void this.agent;
      return this.#texts;
    };
    return [
      { use: `${use}_client`, kind: "chain", read: () => now().cert },
      { use: `${use}_ca`, kind: "authorities", read: () => now().ca },
    ];
  }

  /** Synchronous: the files are small and rarely read. @throws if they cannot be used */
  #read(): Texts {
    const { caFile, certFile, keyFile } = this.#options;
    const [ca, cert, key] = [caFile, certFile, keyFile].map((file) =>
      file === undefined ? undefined : readFileSync(file, "utf8"),
    );
    if (ca !== undefined) readCertificate(ca);
    if (cert !== undefined && key !== undefined) {
      checkPair(cert, key);
      checkBegun(cert);
    }
    return { ca, cert, key };
  }
}

function agentOf({ ca, cert, key }: Texts): Agent {
  return new Agent({
    keepAlive: true,
    minVersion: "TLSv1.2",
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
}

/**
 * For a composition root.
 * @returns undefined if no file is named: then the system's authorities are trusted, and no certificate is shown
 */
export function openClientTls(options: ClientTlsOptions): ClientTlsFiles | undefined {
  const { caFile, certFile, keyFile } = options;
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return undefined;
  return new ClientTlsFiles(options);
}
