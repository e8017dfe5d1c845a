// Every listener -> here: its certificate, its key and the client authorities it trusts, from files that may change at
// run time.
// Guarantees: serves only a certificate and a key that belong together. An unusable file is logged, and the previous
// one stays in use. A change reaches new connections within seconds and ends no open one.
import type { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Server as HttpServer } from "node:http";
import { createSecureContext, Server as TlsServer, type TLSSocket } from "node:tls";
import { ConfigError } from "../config.js";
import { describeError } from "../errors.js";
import type { Logger } from "../logging/logging.js";
import { checkBegun, checkPair, readCertificate } from "./read-certificate.js";

export interface TlsFileNames {
  /** PEM: the certificate, then its chain up to an authority. */
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM: authorities. A client without a certificate from one of them is refused. */
  readonly clientCaFile?: string | undefined;
  /**
   * Admits only clients with one of these names: a DNS name, a URI, or the common name. Empty: every client with a
   * valid certificate.
   */
  readonly clientNames?: readonly string[];
}

export interface OpenTlsFilesOptions extends TlsFileNames {
  readonly logger: Logger;
  /** How often the files are checked, ms. */
  readonly pollMs?: number;
}

/** What `https.createServer` and `server.setSecureContext` take. */
export interface TlsServerOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
  readonly minVersion: "TLSv1.2";
  readonly handshakeTimeout: number;
}

const POLL_MS = 5_000;
/** Node's default is two minutes: too long for a client that has not authenticated. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** @throws ConfigError if the files cannot be read or do not belong together; then nothing must listen */
export async function openTlsFiles(options: OpenTlsFilesOptions): Promise<TlsFiles> {
  const files = new TlsFiles(options);
  await files.open();
  return files;
}

export class TlsFiles {
  readonly #options: OpenTlsFilesOptions;
  readonly #servers = new Set<TlsServer>();
  #served: TlsServerOptions | undefined;
  /** The last error, so that it is logged once. */
  #refused = "";
  #timer: NodeJS.Timeout | undefined;
  #underWay: Promise<void> | undefined;
  readonly #onHangUp = (): void => void this.reload();

  constructor(options: OpenTlsFilesOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { certFile, pollMs = POLL_MS } = this.#options;
    try {
      const texts = await this.#readTexts();
      this.#served = this.#optionsOf(texts);
    } catch (error) {
      throw new ConfigError(`TLS_CERT_FILE, ${certFile}: ${describeError(error)}`);
    }
    this.#timer = setInterval(() => void this.reload(), pollMs);
    this.#timer.unref();
    process.on("SIGHUP", this.#onHangUp);
  }

  close(): void {
    clearInterval(this.#timer);
    process.off("SIGHUP", this.#onHangUp);
  }

  /** The options as of now; pass a server made with them to `serve`. */
  get serverOptions(): TlsServerOptions {
    if (this.#served === undefined) throw new Error("not open");
    return this.#served;
  }

  /** Keeps this server up to date with the files. */
  serve(server: HttpServer | TlsServer): void {
    if (!(server instanceof TlsServer)) throw new Error("no TLS server");
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
    server.setSecureContext(this.serverOptions);
    const { clientNames = [] } = this.#options;
    if (clientNames.length === 0) return;
    // Before the listener that reads requests.
    server.prependListener("secureConnection", (socket: TLSSocket) => {
      const certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined && clientNames.some((name) => isNamed(certificate, name))) return;
      this.#options.logger.warn(
        { subject: certificate?.subject },
        "tls: client refused: its certificate has another name",
      );
      socket.destroy();
    });
  }

  /** Checks the files now; never rejects. */
  reload(): Promise<void> {
    this.#underWay ??= this.#reload().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #reload(): Promise<void> {
    try {
      const texts = await this.#readTexts();
      const { cert, key, ca } = texts;
      const served = this.serverOptions;
      if (cert === served.cert && key === served.key && ca === served.ca) {
        this.#refused = "";
        return;
      }
      const next = this.#optionsOf(texts);
      if (endsAtMs(cert) <= Date.now() && cert !== served.cert)
        throw new Error("the certificate has expired");
      // Includes new ticket keys: nobody may resume a session that a removed authority allowed.
      for (const server of this.#servers) server.setSecureContext(next);
      this.#served = next;
      this.#refused = "";
      const { subject, validTo } = readCertificate(cert);
      this.#options.logger.info({ subject, validTo }, "tls: new certificates are in use");
    } catch (error) {
      // Perhaps only half of a pair was replaced so far, and the other half follows in a moment.
      const reason = describeError(error);
      if (reason === this.#refused) return;
      this.#refused = reason;
      this.#warn(`${reason}; the previous certificates stay in use`);
    }
  }

  #warn(reason: string): void {
    const { certFile, keyFile, clientCaFile, logger } = this.#options;
    logger.warn({ certFile, keyFile, clientCaFile, reason }, "tls: the files cannot be used");
  }

  async #readTexts(): Promise<TlsTexts> {
    const { certFile, keyFile, clientCaFile } = this.#options;
    const [cert, key, ca] = await Promise.all([
      readFile(certFile, "utf8"),
      readFile(keyFile, "utf8"),
      clientCaFile === undefined ? undefined : readFile(clientCaFile, "utf8"),
    ]);
    return { cert, key, ca };
  }

  /** @throws if they cannot be served */
  #optionsOf({ cert, key, ca }: TlsTexts): TlsServerOptions {
    checkPair(cert, key);
    checkBegun(cert);
    const isMutual = ca !== undefined;
    const options: TlsServerOptions = {
      cert,
      key,
      ...(isMutual ? { ca } : {}),
      requestCert: isMutual,
      rejectUnauthorized: isMutual,
      minVersion: "TLSv1.2",
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    };
    if (isMutual) readCertificate(ca);
    createSecureContext(options);
    return options;
  }
}

interface TlsTexts {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
}

function endsAtMs(cert: string): number {
  return Date.parse(readCertificate(cert).validTo);
}

/** By DNS name, URI (such as `spiffe://…`) or common name; wildcards match nobody. */
function isNamed(certificate: X509Certificate, name: string): boolean {
  if (name.includes("://")) {
    // Node quotes a name with a comma or a quote; such a name matches nobody here.
    const names = (certificate.subjectAltName ?? "").split(", ");
    return names.includes(`URI:${name}`);
  }
  return certificate.checkHost(name, { subject: "always", wildcards: false }) !== undefined;
}
