// Asks auth, or another issuer of tokens, for JSON.
// Guarantees: those of request-bounded.
import type { ClientTlsFiles } from "../../kernel/calls/client-tls-files.js";
import { requestBounded } from "../../kernel/calls/request-bounded.js";

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

/** Rejects if there is no answer in time, or it is too large, a redirect or not JSON. */
export async function fetchJson(url: string, options: FetchJsonOptions): Promise<JsonAnswer> {
  const { method = "GET", headers = {}, ...more } = options;
  const { status, text } = await requestBounded(new URL(url), {
    ...more,
    method,
    headers: { accept: "application/json", ...headers },
  });
  return { status, body: JSON.parse(text) as unknown };
}
