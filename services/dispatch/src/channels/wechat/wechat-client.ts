// send-to-openid, access-tokens -> here: requests to WeChat.
// Guarantees: its own connections, kept alive and bounded. A result within the time limit, whatever WeChat does. A
// request that was certainly not sent is told apart from one that may have arrived. No error contains a token or a
// secret.
// The interfaces, by their pages under https://developers.weixin.qq.com:
// - stable_token, POST: /doc/service/api/base/api_getstableaccesstoken.html. Without force: the same token while it is
// valid, a new one in its last five minutes; 10,000 calls a minute. We never force, because that ends everyone's token.
// - token, GET, the older one: /doc/service/api/base/api_getaccesstoken.html. Each call makes a new one; the previous
// one stays valid for five more minutes.
// - message/template/send, POST, of service accounts: /doc/service/api/notify/template/api_sendtemplatemessage.html.
// `client_msg_id`: within ten minutes, one message is sent per openid and id.
// - message/subscribe/send, POST, of mini programs:
// /miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html
// - get_api_domain_ip, GET: /doc/service/api/base/api_getapidomainip.html. WeChat's own addresses.
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
  /** The most concurrent connections; further requests wait for one. */
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
/** How long idle connections are kept; WeChat closes them after about a minute. */
const IDLE_MS = 30_000;

interface Exchange {
  readonly method: "GET" | "POST";
  /** Holds a secret, so no error may quote it. */
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

  /** Never forces a new token: that would end the token that others use. */
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
   * @param signal once aborted, the result is "unanswered", soon
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

  /** For a probe: it tells nobody anything, and counts for no send. `token` may be "", which WeChat refuses. */
  async askAddresses(token: string, signal: AbortSignal): Promise<Answered | Unanswered> {
    const query = new URLSearchParams({ access_token: token }).toString();
    const path = `/cgi-bin/get_api_domain_ip?${query}`;
    const received = await this.#exchange({ method: "GET", path, body: "", signal });
    if (received.kind === "unanswered") return received;
    const answer = readAnswer(received);
    if (answer.kind === "unanswered") return answer;
    return Array.isArray(answer.value["ip_list"])
      ? { kind: "answered", errcode: 0, errmsg: "ok" }
      : errorOf(answer.value);
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange({ method, path, body, signal }: Exchange): Promise<Received> {
    const { timeoutMs } = this.#options;
    const isTls = this.#base.protocol === "https:";
    return new Promise((settle) => {
      let mayHaveArrived = false;
      // Not AbortSignal.any: the signal is a combination already, and on Node 20 a combination of combinations may
      // never fire.
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
      // Written to the connection: from here on WeChat may have it.
      request.on("finish", () => (mayHaveArrived = true));
      request.on("error", fail);
      // Handled here too, because a request that waits for a connection notices an abort only when it gets one.
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
  // WeChat itself always answers 200. This comes from something in front of it.
  return { kind: "unanswered", why: `HTTP ${status}, and no answer of WeChat's`, mayHaveArrived: true };
}

function errorOf({ errcode, errmsg }: Readonly<Record<string, unknown>>): Answered {
  return {
    kind: "answered",
    // Without a code it is not one of the documented answers.
    errcode: typeof errcode === "number" ? errcode : -1,
    errmsg: typeof errmsg === "string" ? errmsg : "no errmsg",
  };
}
