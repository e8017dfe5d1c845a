// Asks auth, or another issuer of tokens, for JSON.
// Guarantees: the answer comes within `timeoutMs`, body included, and never takes more than `maxBytes` of memory. A
// redirect is an error, so that a credential goes nowhere else.
import type { ClientTlsFiles } from "../../kernel/tls/client-tls-files.js";
import { requestOverTls } from "../../kernel/tls/request-over-tls.js";

export interface FetchJsonOptions {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** For an https URL: our own authorities and certificate; by default the system's authorities and no certificate. */
  readonly tls?: ClientTlsFiles | undefined;
}

export interface JsonAnswer {
  readonly status: number;
  /** Parsed, of unknown shape. */
  readonly body: unknown;
}

/** Rejects if there is no answer in time, or it is too large or not JSON. */
export async function fetchJson(url: string, options: FetchJsonOptions): Promise<JsonAnswer> {
  const { timeoutMs, maxBytes, method = "GET", headers = {}, body, tls } = options;
  if (tls !== undefined && new URL(url).protocol === "https:") {
    const answer = await requestOverTls(new URL(url), {
      tls,
      method,
      body,
      timeoutMs,
      maxBytes,
      headers: { accept: "application/json", ...headers },
    });
    if (answer.status >= 300 && answer.status < 400) throw new Error("the answer is a redirect");
    return { status: answer.status, body: JSON.parse(answer.text) as unknown };
  }
  const response = await fetch(url, {
    method,
    headers: { accept: "application/json", ...headers },
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
    ...(body === undefined ? {} : { body }),
  });
  const text = await readBounded(response, maxBytes);
  return { status: response.status, body: JSON.parse(text) as unknown };
}

async function readBounded(response: Response, maxBytes: number): Promise<string> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the stream and closes the connection.
    if (bytes > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
