// `petrel send USER JSON`, `petrel send --topic TOPIC JSON`, `petrel send --all JSON`.
// Guarantees: the data is sent as it was typed; the id is printed once collect has stored the message.
import { setTimeout as pause } from "node:timers/promises";
import { text } from "node:stream/consumers";
import { type Ask, createAsk } from "../ask-service.js";
import { CliError, describeError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { type OptionValues, readArguments, wholeNumber } from "../read-arguments.js";
import { readTopicName } from "../read-topics.js";
import type { Terminal } from "../terminal.js";

export const sendOptions = {
  ...addressOptions,
  topic: { type: "string" },
  all: { type: "boolean" },
  at: { type: "string" },
  ttl: { type: "string" },
  "idempotency-key": { type: "string" },
  wait: { type: "boolean" },
  "wait-seconds": { type: "string" },
  json: { type: "boolean" },
} as const;

const FIRST_POLL_MS = 50;
const LONGEST_POLL_MS = 1_000;
const DEFAULT_WAIT_SECONDS = 60;
const goodEnds: readonly unknown[] = ["delivered", "pushed", "published"];
const badEnds: readonly unknown[] = ["expired", "cancelled", "failed"];

export async function runSend(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const isToMany = args.some((arg) => arg === "--all" || arg === "--topic" || arg.startsWith("--topic="));
  const { values, words } = readArguments(args, sendOptions, isToMany ? ["JSON"] : ["USER", "JSON"]);
  const [argument = ""] = words.slice(-1);
  const to = readRecipient(values, words);
  const deliverAt = values.at === undefined ? undefined : readTime(values.at);
  const ttlSeconds = wholeNumber("--ttl", values.ttl, 1);
  const waitSeconds = wholeNumber("--wait-seconds", values["wait-seconds"], 1) ?? DEFAULT_WAIT_SECONDS;
  // Sending to everyone takes the scope admin too.
  const ask = createAsk("collect", values.all === true ? "adminKey" : "key", values, terminal);
  const data = argument === "-" ? await text(terminal.stdin) : argument;
  requireJson(data);
  const envelope = JSON.stringify({ to, deliverAt, ttlSeconds, idempotencyKey: values["idempotency-key"] });
  // Sent as typed: parsing and writing it again would change numbers beyond 2^53.
  const answer = await ask("POST", "/v1/messages", `${envelope.slice(0, -1)},"data":${data}}`);
  const { id, duplicate } = answer;
  if (typeof id !== "string") throw new CliError("collect answered without an id");
  if (values.json === true) terminal.print(JSON.stringify(answer));
  else terminal.print(`${id} ${duplicate === true ? "duplicate" : "accepted"}`);
  if (values.wait !== true) return 0;
  return waitForEnd(id, ask, terminal, { waitSeconds, json: values.json === true });
}

function readRecipient(
  { all, topic }: OptionValues<typeof sendOptions>,
  [user]: readonly string[],
): Readonly<Record<string, string | boolean>> {
  if (all === true && topic !== undefined) throw usageError("say which: either --topic, or --all");
  if (all === true) return { all };
  return topic === undefined ? { user: user ?? "" } : { topic: readTopicName(topic, { broadcast: false }) };
}

const secondsOfUnit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** An RFC 3339 time, which collect checks; or one relative to now. */
function readTime(at: string): string {
  const [, count, unit = ""] = /^\+(\d{1,9})([smhd])$/.exec(at) ?? [];
  if (count !== undefined) {
    return new Date(Date.now() + Number(count) * (secondsOfUnit[unit] ?? 0) * 1_000).toISOString();
  }
  if (!/^\d{4}-\d\d-\d\dT/i.test(at))
    throw usageError(`--at must be a time like 2030-01-01T09:00:00Z, or +10m, not ${JSON.stringify(at)}`);
  return at;
}

function requireJson(data: string): void {
  try {
    JSON.parse(data);
  } catch (error) {
    const hint = `Quote it for the shell: petrel send alice '{"text":"hello"}'`;
    throw usageError(`the data is not JSON: ${describeError(error)}. ${hint}`);
  }
}

async function waitForEnd(
  id: string,
  ask: Ask,
  { print, interrupted }: Terminal,
  { waitSeconds, json }: { readonly waitSeconds: number; readonly json: boolean },
): Promise<ExitCode> {
  const deadlineMs = performance.now() + waitSeconds * 1_000;
  let pollMs = FIRST_POLL_MS;
  let shown: unknown;
  for (;;) {
    const message = await ask("GET", `/v1/messages/${encodeURIComponent(id)}`);
    const { state } = message;
    if (state !== shown) print(json ? JSON.stringify(message) : `${id} ${String(state)}`);
    shown = state;
    if (goodEnds.includes(state)) return 0;
    if (badEnds.includes(state)) return 1;
    if (performance.now() + pollMs > deadlineMs) {
      throw new CliError(`still ${String(state)} after ${waitSeconds} s`);
    }
    await pause(pollMs, undefined, { signal: interrupted }).catch((cause: unknown) => {
      throw new CliError("interrupted", { cause });
    });
    pollMs = Math.min(pollMs * 1.5, LONGEST_POLL_MS);
  }
}
