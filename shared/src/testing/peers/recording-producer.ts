// Tests only: a business system that records every POST, with what its producer can know about it.
// Guarantees: a user's messages are sent one after another. One without an answer is sent again with the same
// idempotencyKey until it gets one, or left open, as decided beforehand. Connections are kept and used in turn, so that
// a stop meets all of them at work.
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageRecorder, PostRecord } from "./message-recorder.js";

export interface MessageToPost {
  /** Who gets it: a user, or `#` and a topic. */
  readonly user: string;
  /** More of the message's `data`; its number is added. */
  readonly data: object;
  /** Whether to retry if no answer comes. */
  readonly insists: boolean;
  /** The key to send; by default a generated one, if it insists. */
  readonly idempotencyKey?: string;
  /** Adds a notification, so that a fallback channel may take it. */
  readonly fallback?: "offline" | "always";
  readonly ttlSeconds?: number;
}

export interface RecordingProducerOptions {
  readonly recorder: MessageRecorder;
  /** Collects, used in turn. */
  readonly urls: readonly string[];
  /** Their names, in the same order; their URLs by default. */
  readonly names?: readonly string[];
  /** `key.secret` */
  readonly apiKey: string;
  /** How long to wait for an answer. */
  readonly answerTimeoutMs?: number;
  /** How long an insisting one goes on. */
  readonly insistMs?: number;
}

/** Per collect: few enough to use each again within a second. */
const KEPT_CONNECTIONS = 16;

type Answer =
  | { readonly kind: "answer"; readonly status: number; readonly text: string }
  /** Nobody took the request. */
  | { readonly kind: "not-sent"; readonly problem: string }
  | { readonly kind: "no-answer"; readonly problem: string };

export class RecordingProducer {
  readonly #options: RecordingProducerOptions;
  readonly #agent = new Agent({ keepAlive: true, scheduling: "fifo", maxFreeSockets: KEPT_CONNECTIONS });
  /** When a connection had its last answer. */
  readonly #lastUsedMs = new WeakMap<Socket, number>();
  readonly #queues = new Map<string, Promise<void>>();
  readonly #run: string = Math.random().toString(36).slice(2);
  #turn = 0;
  #stopped = false;
  #waiting = 0;

  constructor(options: RecordingProducerOptions) {
    this.#options = options;
  }

  /** Opens the kept connections, so that all of them exist before the first message. */
  async warmUp(): Promise<void> {
    const asking = this.#options.urls.flatMap((url) =>
      Array.from({ length: KEPT_CONNECTIONS }, () => this.#openOne(url)),
    );
    await Promise.all(asking);
  }

  /** The key of the message with this number, if it insisted. */
  keyOf(n: number): string {
    return `${this.#run}-${n}`;
  }

  /** Messages neither answered nor given up. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Sends it when the user's earlier ones are done. Never rejects; resolves when its outcome is recorded. */
  post(message: MessageToPost): Promise<void> {
    this.#waiting++;
    const before = this.#queues.get(message.user) ?? Promise.resolve();
    const done = before.then(() => this.#send(message)).finally(() => void this.#waiting--);
    this.#queues.set(message.user, done);
    return done;
  }

  /** Resolves when everything has its outcome. */
  async settled(): Promise<void> {
    await Promise.all(this.#queues.values());
  }

  /** Stops insisting; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.settled();
    this.#agent.destroy();
  }

  async #send({ user, data, insists, idempotencyKey, fallback, ttlSeconds }: MessageToPost): Promise<void> {
    if (this.#stopped) return;
    const { recorder, insistMs = 60_000 } = this.#options;
    const mayFallBack = fallback !== undefined;
    const mayExpire = ttlSeconds !== undefined;
    const record = recorder.posting({ user, mayFallBack, mayExpire, insists }, data);
    const body = JSON.stringify({
      to: user.startsWith("#") ? { topic: user.slice(1) } : { user },
      data: JSON.parse(record.data) as unknown,
      ...(insists ? { idempotencyKey: idempotencyKey ?? this.keyOf(record.n) } : {}),
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      ...(mayFallBack ? { fallback, notification: { title: "test", body: String(record.n) } } : {}),
    });
    const deadlineMs = performance.now() + insistMs;
    for (let again = true; again;) {
      const answer = await this.#postOnce(body);
      record.attempts++;
      const isOpen = settle(record, answer);
      // A request that nobody took was not sent, so trying elsewhere is harmless.
      again = isOpen && (insists || answer.kind === "not-sent") && performance.now() < deadlineMs;
      again &&= !this.#stopped;
      if (again) await sleep(20 + Math.random() * 80);
    }
  }

  #openOne(url: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const asking = request(`${url}/health/live`, { agent: this.#agent });
      asking.on("error", reject);
      asking.on("response", (response) => {
        response.on("end", resolve);
        response.resume();
      });
      asking.end();
    });
  }

  async #postOnce(body: string): Promise<Answer> {
    const { recorder, urls, names = urls } = this.#options;
    const turn = this.#turn++ % urls.length;
    const startedAtMs = performance.now();
    let idleMs: number | undefined;
    const answer = await this.#ask(urls[turn] ?? "", body, (socket, isKept) => {
      const lastUsedMs = this.#lastUsedMs.get(socket);
      if (isKept && lastUsedMs !== undefined) idleMs = startedAtMs - lastUsedMs;
    });
    const status = answer.kind === "answer" ? answer.status : undefined;
    const problem = answer.kind === "answer" ? undefined : answer.problem;
    const endedAtMs = performance.now();
    recorder.attempted({ target: names[turn] ?? "", idleMs, startedAtMs, endedAtMs, status, problem });
    return answer;
  }

  #ask(url: string, body: string, onSocket: (socket: Socket, isKept: boolean) => void): Promise<Answer> {
    const { apiKey, answerTimeoutMs = 8_000 } = this.#options;
    return new Promise((resolve) => {
      const headers = {
        authorization: `Bearer ${apiKey}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      };
      const posting = request(`${url}/v1/messages`, { method: "POST", agent: this.#agent, headers });
      const fail = (error: NodeJS.ErrnoException): void => {
        clearTimeout(timer);
        const problem = error.code ?? error.message;
        resolve({ kind: problem === "ECONNREFUSED" ? "not-sent" : "no-answer", problem });
      };
      const timer = setTimeout(() => posting.destroy(new Error("no answer in time")), answerTimeoutMs);
      posting.on("error", fail);
      let used: Socket | undefined;
      posting.on("socket", (socket) => {
        used = socket;
        onSocket(socket, posting.reusedSocket);
      });
      posting.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", fail);
        response.on("end", () => {
          clearTimeout(timer);
          if (used !== undefined) this.#lastUsedMs.set(used, performance.now());
          resolve({ kind: "answer", status: response.statusCode ?? 0, text });
        });
      });
      posting.end(body);
    });
  }
}

/**
 * Records what an answer says.
 * @returns whether the message's outcome is still open
 */
function settle(record: PostRecord, answer: Answer): boolean {
  if (answer.kind === "answer" && answer.status === 202) {
    record.outcome = "accepted";
    record.answeredAtMs = performance.now();
    record.id = (JSON.parse(answer.text) as { id: string }).id;
    record.problem = undefined;
    return false;
  }
  record.problem = answer.kind === "answer" ? `${answer.status} ${answer.text}` : answer.problem;
  // 503 and 500 may have lost the store's answer; a final refusal means not stored, unless an earlier try was.
  const isRefused = answer.kind === "answer" && answer.status < 500 && answer.status !== 429;
  if (isRefused && record.attempts === 1) record.outcome = "refused";
  return !isRefused;
}
