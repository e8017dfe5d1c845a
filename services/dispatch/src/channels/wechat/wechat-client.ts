// send-to-openid, access-tokens -> here: requests to WeChat.
// Guarantees: connections of its own, kept alive and bounded; an answer within the time, whatever the far side does; a
// request that was certainly not sent is told from one that may have arrived. No token and no secret leaves in an error.
//
// The interfaces, by their pages under https://developers.weixin.qq.com:
// - stable_token, POST: /doc/service/api/base/api_getstableaccesstoken.html. Non-force: the same token while it is good, a
//   new one in its last five minutes; 10,000 calls a minute. Never asked to force: that ends the token of everybody else.
// - token, GET, the older one: /doc/service/api/base/api_getaccesstoken.html. Each call makes a new one; the former is good
//   for five minutes more.
// - message/template/send, POST, of service accounts: /doc/service/api/notify/template/api_sendtemplatemessage.html.
//   `client_msg_id`: of one openid and id one message is sent within ten minutes.
// - message/subscribe/send, POST, of mini programs:
//   /miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { WechatApp, WechatKind } from "./wechat-apps.js";
import type { WechatError } from "./judge-wechat-answer.js";

export type TokenInterface = "stable" | "legacy";

export interface WechatClientOptions {
  /** Such as https://api.weixin.qq.com. */
  readonly endpoint: string;
  readonly tokenInterface: TokenInterface;
  /** For a request, to the end of its answer, ms. */
  readonly timeoutMs: number;
  /** Connections at a time; what is beyond waits for one. */
  readonly connections: number;
}

export interface GrantedToken {
  /** A secret. */
  readonly token: string;
  readonly expiresInMs: number;
}

export type Answered = WechatError & { readonly kind: "answered" };
/** `mayHaveArrived`: it was written to a connection. */
export interface Unanswered {
  readonly kind: "unanswered";
  readonly why: string;
  readonly mayHaveArrived: boolean;
}

const sendPaths: Readonly<Record<WechatKind, string>> = {
  "service-account": "/cgi-bin/message/template/send",
  "mini-program": "/cgi-bin/message/subscribe/send",
};

const MAX_ANSWER_BYTES = 64 * 1024;
/** Idle connections; WeChat closes them after a minute or so. */
const IDLE_MS = 30_000;

interface Exchange {
  readonly method: "GET" | "POST";
  /** Holds a secret: it stands in no message of ours. */
  readonly path: string;
  readonly body: string;
  readonly signal?: AbortSignal;
}

type Received = { readonly kind: "received"; readonly status: number; readonly text: string } | Unanswered;

export class WechatClient {
  readonly #options: WechatClientOptions;
  readonly #base: URL;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(options: WechatClientOptions) {
    this.#options = options;
    this.#base = new URL(options.endpoint);
    const Agent = this.#base.protocol === "https:" ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.connections, timeout: IDLE_MS });
  }

  /** Never force: that would end the token that others use. */
  async fetchToken({
    appid,
    secret,
  }: WechatApp): Promise<(GrantedToken & { kind: "granted" }) | Answered | Unanswered> {
    const exchange: Exchange =
      this.#options.tokenInterface === "stable"
        ? {
            method: "POST",
            path: "/cgi-bin/stable_token",
            body: JSON.stringify({ grant_type: "client_credential", appid, secret, force_refresh: false }),
          }
        : {
            method: "GET",
            path: `/cgi-bin/token?${new URLSearchParams({ grant_type: "client_credential", appid, secret }).toString()}`,
            body: "",
          };
    const received = await this.#exchange(exchange);
    if (received.kind === "unanswered") return received;
    const answer = readAnswer(received);
    if (answer.kind === "unanswered") return answer;
    const { access_token: token, expires_in: seconds } = answer.value;
    if (
      typeof token === "string" &&
      /^[!-~]{1,2048}$/.test(token) &&
      typeof seconds === "number" &&
      seconds > 0
    ) {
      return { kind: "granted", token, expiresInMs: seconds * 1_000 };
    }
    return errorOf(answer.value);
  }

  /**
   * @param body JSON, see build-wechat-message
   * @param signal aborted: unanswered, and soon
   */
  async send(
    kind: WechatKind,
    token: string,
    body: string,
    signal: AbortSignal,
  ): Promise<Answered | Unanswered> {
    const query = new URLSearchParams({ access_token: token }).toString();
    const received = await this.#exchange({
      method: "POST",
      path: `${sendPaths[kind]}?${query}`,
      body,
      signal,
    });
    if (received.kind === "unanswered") return received;
    const answer = readAnswer(received);
    return answer.kind === "unanswered" ? answer : errorOf(answer.value);
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange({ method, path, body, signal }: Exchange): Promise<Received> {
    const { timeoutMs } = this.#options;
    const isTls = this.#base.protocol === "https:";
    return new Promise((settle) => {
      let mayHaveArrived = false;
      // No AbortSignal.any: the signal is such a combination itself, and on Node 20 one of combinations may never fire.
      const over = new AbortController();
      const giveUp = (): void => over.abort();
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        giveUp();
      }, timeoutMs);
      signal?.addEventListener("abort", giveUp, { once: true });
      const resolve = (received: Received): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", giveUp);
        settle(received);
      };
      const fail = (error: NodeJS.ErrnoException): void => {
        const why = isLate ? `no answer within ${timeoutMs} ms` : (error.code ?? error.message);
        resolve({ kind: "unanswered", why, mayHaveArrived });
      };
      const prefix = this.#base.pathname.replace(/\/$/, "");
      const request = (isTls ? httpsRequest : httpRequest)(
        {
          protocol: this.#base.protocol,
          hostname: this.#base.hostname.replace(/^\[(.*)\]$/, "$1"),
          port: this.#base.port,
          path: prefix + path,
          method,
          agent: this.#agent,
          headers: {
            "user-agent": "petrel",
            ...(method === "POST"
              ? { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
              : {}),
          },
          signal: over.signal,
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            text += chunk;
            if (text.length > MAX_ANSWER_BYTES) {
              resolve({ kind: "unanswered", why: "an endless answer", mayHaveArrived: true });
              request.destroy();
            }
          });
          response.on("error", fail);
          response.on("end", () => resolve({ kind: "received", status: response.statusCode ?? 0, text }));
        },
      );
      // Handed to the connection: from here on WeChat may have it.
      request.on("finish", () => (mayHaveArrived = true));
      request.on("error", fail);
      // Said here as well: a request that waits for a connection hears of it only when it gets one.
      over.signal.addEventListener("abort", () => fail(new Error("given up")), { once: true });
      request.end(body);
      if (signal?.aborted === true) giveUp();
    });
  }
}

function readAnswer({
  status,
  text,
}: {
  readonly status: number;
  readonly text: string;
}): { readonly kind: "read"; readonly value: Readonly<Record<string, unknown>> } | Unanswered {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (status === 200 && typeof value === "object" && value !== null) {
    return { kind: "read", value: value as Readonly<Record<string, unknown>> };
  }
  // WeChat itself answers 200, whatever is wrong. This is of something before it.
  return { kind: "unanswered", why: `HTTP ${status}, and no answer of WeChat's`, mayHaveArrived: true };
}

function errorOf({ errcode, errmsg }: Readonly<Record<string, unknown>>): Answered {
  return {
    kind: "answered",
    // Without a code it is none of the answers that are described.
    errcode: typeof errcode === "number" ? errcode : -1,
    errmsg: typeof errmsg === "string" ? errmsg : "no errmsg",
  };
}
