// Tests only: a business system that signs its requests and sends in batches, besides shared/testing's recording
// producer.
// Guarantees: one request at a time, so that a user's messages come one after another; whatever is not certainly
// accepted is sent again with the same idempotencyKey; every message's outcome, and every refusal, is recorded.
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageRecorder, PostRecord } from "@petrel/shared/testing/peers/message-recorder";
import type { SeededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { sized } from "../sizes.js";

export interface SignedProducerOptions {
  readonly recorder: MessageRecorder;
  readonly random: SeededRandom;
  /** Collects, used in turn. */
  readonly urls: readonly string[];
  /** `key.secret` of a key that may sign. */
  readonly apiKey: string;
  readonly users: readonly string[];
  /** No request is begun after it is aborted. */
  readonly signal: AbortSignal;
}

interface Result {
  readonly id?: string;
  readonly error?: { readonly code: string; readonly retryable: boolean; readonly status: number };
}

interface Message {
  readonly record: PostRecord;
  readonly body: object;
}

const EVERY_MS = sized(250, 500);
const LARGEST_BATCH = 12;
const SIGNED_SHARE = 0.7;
const ANSWER_DEADLINE_MS = 10_000;
const INSIST_MS = 60_000;

/** Resolves when the signal is aborted and every message has its outcome. */
export async function sendSigned(options: SignedProducerOptions): Promise<void> {
  const { random, users, signal } = options;
  for (let turn = 0; !signal.aborted; turn++) {
    const some = random.shuffled(users).slice(0, random.between(1, LARGEST_BATCH + 1));
    let open = some.map((user) => makeMessage(options.recorder, user));
    const deadlineMs = performance.now() + INSIST_MS;
    for (let attempt = 0; open.length > 0 && performance.now() < deadlineMs; attempt++) {
      open = await sendOnce(options, open, turn + attempt);
      if (open.length > 0) await sleep(50);
    }
    await sleep(EVERY_MS);
  }
}

function makeMessage(recorder: MessageRecorder, user: string): Message {
  const record = recorder.posting({ user, mayFallBack: false, mayExpire: false, insists: true }, {});
  const data = JSON.parse(record.data) as unknown;
  return { record, body: { to: { user }, data, idempotencyKey: randomUUID() } };
}

/** @returns those to be sent again */
async function sendOnce(
  { recorder, random, urls, apiKey }: SignedProducerOptions,
  messages: readonly Message[],
  turn: number,
): Promise<Message[]> {
  const isBatch = messages.length > 1;
  const target = isBatch ? "/v1/messages/batch" : "/v1/messages";
  const bodies = messages.map((message) => message.body);
  const body = JSON.stringify(isBatch ? { messages: bodies } : bodies[0]);
  const url = urls[turn % urls.length] ?? "";
  const startedAtMs = performance.now();
  for (const { record } of messages) record.attempts++;
  const answer = await fetch(url + target, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(random.chance(SIGNED_SHARE)
        ? signatureOf(apiKey, target, body)
        : { authorization: `Bearer ${apiKey}` }),
    },
    body,
    signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
  })
    .then(async (response) => ({ status: response.status, text: await response.text() }))
    .catch((error: unknown) => ({ status: undefined, text: String(error) }));
  const { status, text } = answer;
  recorder.attempted({
    target: url,
    idleMs: undefined,
    startedAtMs,
    endedAtMs: performance.now(),
    status,
    problem: undefined,
  });
  if (status !== 202) {
    const isForGood = status !== undefined && status < 500 && status !== 429;
    for (const { record } of messages) {
      record.problem = `${status ?? "no answer"} ${text}`;
      if (isForGood) record.outcome = "refused";
    }
    return isForGood ? [] : [...messages];
  }
  const results = isBatch
    ? (JSON.parse(text) as { readonly results: readonly Result[] }).results
    : [JSON.parse(text) as Result];
  return messages.filter(({ record }, i) => {
    const { id, error } = results[i] ?? {};
    if (id !== undefined) {
      record.id = id;
      record.outcome = "accepted";
      record.answeredAtMs = performance.now();
      record.problem = undefined;
      return false;
    }
    record.problem = JSON.stringify(error);
    if (error?.retryable === true) return true;
    record.outcome = "refused";
    return false;
  });
}

function signatureOf(apiKey: string, target: string, body: string): Record<string, string> {
  const [keyId = "", secret = ""] = apiKey.split(".");
  const [id, timestamp] = [randomUUID(), String(Math.floor(Date.now() / 1_000))];
  const bodySha256 = createHash("sha256").update(body).digest("hex");
  const signature = signRequest({ id, timestamp, method: "POST", target, bodySha256 }, secret);
  return {
    "petrel-key": keyId,
    "petrel-id": id,
    "petrel-timestamp": timestamp,
    "petrel-signature": `v1,${signature}`,
  };
}
