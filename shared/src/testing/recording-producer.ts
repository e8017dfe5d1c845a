// Tests only: a business system whose every POST is recorded, with what its producer can know of it.
// Guarantees: a user's messages are sent one after another; one that got no answer is sent again with the same
// idempotencyKey until it gets one, or left open, as its sender has decided beforehand.
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageRecorder, PostRecord } from "./message-recorder.js";

export interface MessageToPost {
  readonly user: string;
  /** More of the message's `data`; its number is added. */
  readonly data: object;
  /** Whether to ask again where no answer came. */
  readonly insists: boolean;
  /** With a notification, so that a fallback channel may take it. */
  readonly fallback?: "offline" | "always";
  readonly ttlSeconds?: number;
}

export interface RecordingProducerOptions {
  readonly recorder: MessageRecorder;
  /** Collects, to be used in turn. */
  readonly urls: readonly string[];
  /** `key.secret` */
  readonly apiKey: string;
  /** How long to wait for an answer. */
  readonly answerTimeoutMs?: number;
  /** How long one that insists goes on. */
  readonly insistMs?: number;
}

type Answer =
  | { readonly kind: "answer"; readonly status: number; readonly text: string }
  /** Nobody was there to take the request. */
  | { readonly kind: "not-sent"; readonly problem: string }
  | { readonly kind: "no-answer"; readonly problem: string };

export class RecordingProducer {
  readonly #options: RecordingProducerOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #queues = new Map<string, Promise<void>>();
  readonly #run: string = Math.random().toString(36).slice(2);
  #turn = 0;
  #stopped = false;
  #waiting = 0;

  constructor(options: RecordingProducerOptions) {
    this.#options = options;
  }

  /** Messages that have not been answered or given up. */
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

  /** Insists no longer; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.settled();
    this.#agent.destroy();
  }

  async #send({ user, data, insists, fallback, ttlSeconds }: MessageToPost): Promise<void> {
    if (this.#stopped) return;
    const { recorder, insistMs = 60_000 } = this.#options;
    const mayFallBack = fallback !== undefined;
    const record = recorder.posting({ user, mayFallBack, mayExpire: ttlSeconds !== undefined }, data);
    const body = JSON.stringify({
      to: { user },
      data: JSON.parse(record.data) as unknown,
      ...(insists ? { idempotencyKey: `${this.#run}-${record.n}` } : {}),
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      ...(mayFallBack ? { fallback, notification: { title: "test", body: String(record.n) } } : {}),
    });
    const deadlineMs = performance.now() + insistMs;
    for (let again = true; again;) {
      const answer = await this.#postOnce(body);
      record.attempts++;
      const isOpen = settle(record, answer);
      // What nobody took was not sent: there is no harm in trying elsewhere.
      again = isOpen && (insists || answer.kind === "not-sent") && performance.now() < deadlineMs;
      again &&= !this.#stopped;
      if (again) await sleep(20 + Math.random() * 80);
    }
  }

  #postOnce(body: string): Promise<Answer> {
    const { urls, apiKey, answerTimeoutMs = 8_000 } = this.#options;
    const url = urls[this.#turn++ % urls.length] ?? "";
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
      posting.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", fail);
        response.on("end", () => {
          clearTimeout(timer);
          resolve({ kind: "answer", status: response.statusCode ?? 0, text });
        });
      });
      posting.end(body);
    });
  }
}

/**
 * Writes down what an answer says.
 * @returns whether it leaves open what became of the message
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
  // 503 and 500 may have lost the store's answer; what is refused for good was not stored, unless an earlier try was.
  const isRefused = answer.kind === "answer" && answer.status < 500 && answer.status !== 429;
  if (isRefused && record.attempts === 1) record.outcome = "refused";
  return !isRefused;
}
