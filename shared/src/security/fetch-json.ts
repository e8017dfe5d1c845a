// Asks auth for JSON on behalf of a node.
// Guarantees: an answer comes within `timeoutMs`, body included, and never fills more than `maxBytes` of memory; a
// redirect is an error, so that a credential goes nowhere else.

export interface FetchJsonOptions {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface JsonAnswer {
  readonly status: number;
  /** Parsed, of unknown shape. */
  readonly body: unknown;
}

/** Rejects where there is no answer in time, or one that is too large or not JSON. */
export async function fetchJson(url: string, options: FetchJsonOptions): Promise<JsonAnswer> {
  const { timeoutMs, maxBytes, method = "GET", headers = {}, body } = options;
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
