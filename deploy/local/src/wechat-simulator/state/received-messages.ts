// The WeChat simulator: what has arrived at each openid.
// Guarantees: one message for an openid and a client_msg_id within ten minutes, however often it arrives. Bounded: the
// oldest are dropped.

export interface ReceivedMessage {
  readonly atMs: number;
  readonly msgid: number;
  readonly appid: string;
  readonly kind: "service-account" | "mini-program";
  /** The request's body. */
  readonly request: Readonly<Record<string, unknown>>;
  /** How often it came. */
  times: number;
}

/** https://developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.html, client_msg_id */
const REMEMBERED_MS = 10 * 60_000;
const [PER_OPENID, IN_ALL] = [10_000, 100_000];

export class ReceivedMessages {
  readonly #byOpenid = new Map<string, ReceivedMessage[]>();
  readonly #byClientId = new Map<string, ReceivedMessage>();
  #count = 0;
  #repeats = 0;
  #nextId = 200_000_001;

  get count(): number {
    return this.#count;
  }

  /** Requests that were recognised as repetitions. */
  get repeats(): number {
    return this.#repeats;
  }

  add(
    openid: string,
    message: Omit<ReceivedMessage, "msgid" | "times">,
    clientId: string | undefined,
  ): ReceivedMessage {
    const name = clientId === undefined ? undefined : `${message.appid} ${openid} ${clientId}`;
    const before = name === undefined ? undefined : this.#byClientId.get(name);
    if (before !== undefined && message.atMs - before.atMs <= REMEMBERED_MS) {
      before.times++;
      this.#repeats++;
      return before;
    }
    const received = { ...message, msgid: this.#nextId++, times: 1 };
    const list = this.#byOpenid.get(openid) ?? [];
    this.#byOpenid.set(openid, list);
    list.push(received);
    this.#count++;
    if (name !== undefined) this.#byClientId.set(name, received);
    if (list.length > PER_OPENID) {
      list.shift();
      this.#count--;
    }
    if (this.#count > IN_ALL) this.#forgetOldestOpenid();
    if (this.#byClientId.size > IN_ALL) {
      const [oldest] = this.#byClientId.keys();
      if (oldest !== undefined) this.#byClientId.delete(oldest);
    }
    return received;
  }

  /** In the order of their arrival. */
  list(openid: string): readonly ReceivedMessage[] {
    return this.#byOpenid.get(openid) ?? [];
  }

  /** The openids that have received anything. */
  openids(): readonly string[] {
    return [...this.#byOpenid.keys()];
  }

  clear(): void {
    this.#byOpenid.clear();
    this.#byClientId.clear();
    this.#count = 0;
    this.#repeats = 0;
  }

  #forgetOldestOpenid(): void {
    const [oldest] = this.#byOpenid.keys();
    if (oldest === undefined) return;
    this.#count -= this.#byOpenid.get(oldest)?.length ?? 0;
    this.#byOpenid.delete(oldest);
  }
}
