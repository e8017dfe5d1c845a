// fetch-json, console/call-service -> here: one HTTP request. Not by `fetch`: its parser is WebAssembly, which a process
// compiles for 100 ms of CPU at its first call, and a call takes three times the CPU.
// Guarantees: the answer comes within `timeoutMs`, body included, and never takes more than `maxBytes` of memory. A
// redirect is an error, so that a credential goes nowhere else.
import { request as requestOverTcp, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { request as requestOverTls } from "node:https";
import type { ClientTlsFiles } from "./client-tls-files.js";

/** Some gateways in front of issuers refuse a request without. */
const CALLER = { "user-agent": "petrel" } as const;

export interface BoundedRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** For an https URL: our own authorities and certificate; by default the system's authorities and no certificate. */
  readonly tls?: ClientTlsFiles | undefined;
  /** Aborted, it ends the request before its time. */
  readonly signal?: AbortSignal;
}

export interface BoundedAnswer {
  readonly status: number;
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
}

/** @throws if there is no answer in time, if it is too large or a redirect, or if the server is not who it should be */
export function requestBounded(url: URL, options: BoundedRequest): Promise<BoundedAnswer> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  return requestOnce(url, { ...options, signal });
}

function requestOnce(
  url: URL,
  options: BoundedRequest & { readonly signal: AbortSignal },
): Promise<BoundedAnswer> {
  const { tls, method, headers, body, maxBytes, signal } = options;
  return new Promise((resolve, reject) => {
    const asked = { method, headers: { ...CALLER, ...headers }, signal };
    const receive = (response: IncomingMessage): void => {
      const { statusCode: status = 0 } = response;
      const refuse = (why: string): void => {
        reject(new Error(why));
        response.destroy();
      };
      if (status >= 300 && status < 400) return refuse("the answer is a redirect");
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= maxBytes) chunks.push(chunk);
        else refuse(`the answer is larger than ${maxBytes} bytes`);
      });
      response.on("end", () => {
        resolve({ status, text: Buffer.concat(chunks).toString("utf8"), headers: response.headers });
      });
    };
    const request =
      url.protocol === "https:"
        ? requestOverTls(url, tls === undefined ? asked : { ...asked, agent: tls.agent }, receive)
        : requestOverTcp(url, asked, receive);
    request.on("error", (error) => {
      // The server ended a kept connection just as it was used again. What changes nothing may be asked twice.
      const mayAskAgain = method === "GET" && request.reusedSocket && !signal.aborted;
      if (mayAskAgain) resolve(requestOnce(url, options));
      else reject(error);
    });
    request.end(body);
  });
}
