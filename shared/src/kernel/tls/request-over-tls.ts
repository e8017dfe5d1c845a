// fetch-json, console/call-service -> here: one HTTPS request with our own authorities and certificate.
// Guarantees: the answer comes within `timeoutMs`, body included, and never takes more than `maxBytes` of memory;
// redirects are not followed.
import { request } from "node:https";
import type { ClientTlsFiles } from "./client-tls-files.js";

export interface TlsRequest {
  readonly tls: ClientTlsFiles;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface TlsAnswer {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** @throws if there is no answer in time, if it is too large, or if the server is not who it should be */
export function requestOverTls(url: URL, options: TlsRequest): Promise<TlsAnswer> {
  const { tls, method, headers, body, timeoutMs, maxBytes } = options;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const asked = request(url, { agent: tls.agent, method, headers, signal }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= maxBytes) {
          chunks.push(chunk);
          return;
        }
        reject(new Error(`the answer is larger than ${maxBytes} bytes`));
        response.destroy();
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString("utf8"),
          headers: response.headers,
        }),
      );
    });
    asked.on("error", reject);
    asked.end(body);
  });
}
