// webhook-channel, webhooks/post-signed -> here: one POST to a receiver.
// Guarantees: a result within the deadline, whatever the receiver does. Follows no redirect. Unless private addresses
// are allowed, sends nothing to one: literal ones are refused here, names by checked-lookup. Reads little of an
// answer's body. Keeps connections alive; each sender has its own.
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { describeError } from "@petrel/shared/kernel/errors";
import { pause } from "@petrel/shared/kernel/pause";
import { createCheckedLookup, RefusedAddressError, type ResolveName } from "./checked-lookup.js";
import { refusedHost } from "./check-url.js";

export interface WebhookSenderOptions {
  /** For a whole request, up to the head of its answer. */
  readonly timeoutMs: number;
  /** Whether it may post to private addresses, see WEBHOOK_ALLOW_PRIVATE. */
  readonly allowPrivate: boolean;
  readonly resolveName: ResolveName;
}

export interface WebhookPost {
  /** http: or https:, without user and password. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export type PostAnswer =
  | { readonly status: number; readonly retryAfter: string | null }
  | {
      /** Why there was no answer, in a few words for people. */
      readonly error: string;
      readonly kind: "timeout" | "refused" | "failed";
    };

/** An answer's body is ignored, but read to its end, so that the connection can serve the next request. */
const BODY_BYTES = 64 * 1024;
export const BODY_MS = 500;
/** A kept connection that its receiver has closed is noticed only on use; then another is tried, this often. */
const MAX_STALE = 2;
const IDLE_MS = 60_000;

export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  readonly #lookup: LookupFunction;
  readonly #http = new HttpAgent({ keepAlive: true, timeout: IDLE_MS });
  readonly #https = new HttpsAgent({ keepAlive: true, timeout: IDLE_MS });

  constructor(options: WebhookSenderOptions) {
    this.#options = options;
    this.#lookup = createCheckedLookup(options.resolveName, options.allowPrivate);
  }

  /**
   * Faults are answers too.
   * @throws only if `signal` is aborted
   */
  async post(post: WebhookPost, signal: AbortSignal): Promise<PostAnswer> {
    const { timeoutMs, allowPrivate } = this.#options;
    const url = new URL(post.url);
    // A socket does not look up a literal address, so check it here.
    const refused = refusedHost(url.hostname, allowPrivate);
    if (refused !== undefined) return { error: `the URL ${refused}`, kind: "refused" };
    // Not `AbortSignal.any`: what it makes would stay attached to a signal that lives as long as the process.
    const over = new AbortController();
    const abort = (): void => over.abort();
    const timer = setTimeout(abort, timeoutMs);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      const response = await this.#send(url, post, over.signal);
      await skipBody(response, signal);
      const { "retry-after": retryAfter = null } = response.headers;
      return { status: response.statusCode ?? 0, retryAfter };
    } catch (error) {
      if (signal.aborted) throw error;
      if (over.signal.aborted) return { error: `no answer within ${timeoutMs} ms`, kind: "timeout" };
      if (error instanceof RefusedAddressError) return { error: error.message, kind: "refused" };
      return { error: reasonOf(error), kind: "failed" };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  async #send(url: URL, post: WebhookPost, signal: AbortSignal): Promise<IncomingMessage> {
    for (let stale = 0; ; stale++) {
      try {
        return await this.#try(url, post, signal);
      } catch (error) {
        if (!(error instanceof StaleConnectionError) || stale === MAX_STALE) throw error;
      }
    }
  }

  async #try(url: URL, { headers, body }: WebhookPost, signal: AbortSignal): Promise<IncomingMessage> {
    const isSecure = url.protocol === "https:";
    const request = (isSecure ? requestHttps : requestHttp)(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "user-agent": "petrel",
        ...headers,
      },
      agent: isSecure ? this.#https : this.#http,
      lookup: this.#lookup,
      signal,
    });
    try {
      return await new Promise((resolve, reject) => {
        // A connection may end without an answer and without an error, as with 101.
        const close = (): void => reject(new Error("closed without an answer"));
        request.on("response", resolve).on("error", reject).on("close", close);
        request.end(body);
      });
    } catch (error) {
      request.destroy();
      if (request.reusedSocket && !signal.aborted && isConnectionEnd(error)) throw new StaleConnectionError();
      throw error;
    }
  }

  /** Nothing is sent afterwards. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

class StaleConnectionError extends Error {
  override readonly message = "the connection was closed";
}

function isConnectionEnd(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}

/** Never fails: the head already says what the answer means. */
async function skipBody(response: IncomingMessage, signal: AbortSignal): Promise<void> {
  let bytes = 0;
  const over = new AbortController();
  const stop = (): void => over.abort();
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES) stop();
  });
  // Cut off in the middle of its body, it is still an answer.
  response.on("error", stop).on("end", stop).on("close", stop);
  signal.addEventListener("abort", stop, { once: true });
  await pause(BODY_MS, over.signal);
  signal.removeEventListener("abort", stop);
  // If the body was not read to its end, drop the connection.
  if (!response.readableEnded) response.destroy();
}

/** The error's code, such as ECONNREFUSED. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return describeError(error);
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? (message === "" ? describeError(error) : message);
}
