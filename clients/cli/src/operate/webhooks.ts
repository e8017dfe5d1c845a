// `petrel webhooks list|create|show|update|pause|resume|rotate|test|replay|attempts|delete`.
// Guarantees: a secret is printed once, when it is made. If a test is not delivered, the exit code is 1.
import { readItems } from "../ask-service.js";
import { type ExitCode, usageError } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { wholeNumber } from "../read-arguments.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const webhooksOptions = {
  ...addressOptions,
  types: { type: "string" },
  description: { type: "string" },
  url: { type: "string" },
  after: { type: "string" },
  limit: { type: "string" },
  json: { type: "boolean" },
} as const;

type WebhooksCall = Call<typeof webhooksOptions>;

interface Webhook {
  readonly id: string;
  readonly url: string;
  readonly types: readonly string[] | null;
  readonly paused: boolean;
  readonly pausedReason: string | null;
}

interface Outcome {
  readonly status?: number;
  readonly durationMs: number;
  readonly error?: string;
}

interface Tested extends Outcome {
  readonly delivered: boolean;
}

interface Attempt extends Outcome {
  readonly at: string;
  readonly webhookId: string;
}

const DEFAULT_LIMIT = 50;

export const runWebhooks = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "webhooks",
      service: "dispatch",
      options: webhooksOptions,
      actions: {
        list: { words: [], run: listWebhooks },
        create: { words: ["URL"], options: ["types", "description"], run: createWebhook },
        show: { words: ["ID"], run: showWebhook },
        update: { words: ["ID"], options: ["types", "description", "url"], run: updateWebhook },
        pause: { words: ["ID"], run: (call) => change(call, { paused: true }) },
        resume: { words: ["ID"], run: (call) => change(call, { paused: false }) },
        rotate: { words: ["ID"], run: rotateSecret },
        test: { words: ["ID"], run: testWebhook },
        replay: { words: ["ID"], options: ["after"], run: replayWebhook },
        attempts: { words: ["ID"], options: ["limit"], run: listAttempts },
        delete: { words: ["ID"], run: deleteWebhook },
      },
    },
    args,
    terminal,
  );

async function listWebhooks({ values, terminal, ask }: WebhooksCall): Promise<ExitCode> {
  for await (const webhook of readItems<Webhook>(ask, "/v1/webhooks")) {
    terminal.print(values.json === true ? JSON.stringify(webhook) : describe(webhook));
  }
  return 0;
}

function describe({ id, url, types, paused, pausedReason }: Webhook): string {
  const state = paused ? `paused${pausedReason === null ? "" : ` (${pausedReason})`}` : "on";
  return `${id} ${state} ${url} ${types === null ? "all types" : types.join(",")}`;
}

async function createWebhook({ values, terminal, ask, words: [url = ""] }: WebhooksCall): Promise<ExitCode> {
  const { description } = values;
  const body = { url, ...readTypes(values.types), ...(description === undefined ? {} : { description }) };
  const answer = await ask("POST", "/v1/webhooks", JSON.stringify(body));
  if (values.json === true) terminal.print(JSON.stringify(answer));
  else {
    terminal.print(`${String(answer["id"])} ${String(answer["secret"])}`);
    terminal.note("The secret cannot be shown again.");
  }
  return 0;
}

/** @param text separated by commas, or `all` */
function readTypes(text: string | undefined): { readonly types?: readonly string[] | null } {
  if (text === undefined) return {};
  return { types: text === "all" ? null : text.split(",") };
}

async function showWebhook({ values, terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  const webhook = await ask("GET", pathOf(id));
  const text = values.json === true ? JSON.stringify(webhook) : JSON.stringify(webhook, undefined, 2);
  for (const line of text.split("\n")) terminal.print(line);
  return 0;
}

function updateWebhook(call: WebhooksCall): Promise<ExitCode> {
  const { types, description, url } = call.values;
  const body = {
    ...readTypes(types),
    ...(description === undefined ? {} : { description }),
    ...(url === undefined ? {} : { url }),
  };
  if (Object.keys(body).length === 0)
    throw usageError("what should change? Give --url, --types or --description.");
  return change(call, body);
}

async function change(
  { values, terminal, ask, words: [id = ""] }: WebhooksCall,
  body: object,
): Promise<ExitCode> {
  const webhook = (await ask("PATCH", pathOf(id), JSON.stringify(body))) as unknown as Webhook;
  terminal.print(values.json === true ? JSON.stringify(webhook) : describe(webhook));
  return 0;
}

async function rotateSecret({ values, terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  const answer = await ask("POST", `${pathOf(id)}/rotate`);
  terminal.print(values.json === true ? JSON.stringify(answer) : String(answer["secret"]));
  if (values.json !== true) terminal.note("The old secret also signs for another 24 hours.");
  return 0;
}

async function testWebhook({ values, terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  const answer = (await ask("POST", `${pathOf(id)}/test`)) as unknown as Tested;
  const { delivered, status, durationMs, error } = answer;
  const what = error ?? `HTTP ${status}`;
  const line = `${delivered ? "delivered" : "not delivered"}: ${what}, ${durationMs} ms`;
  terminal.print(values.json === true ? JSON.stringify(answer) : line);
  return delivered ? 0 : 1;
}

async function replayWebhook({ values, terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  const { after } = values;
  if (after === undefined) throw usageError("from where? Give --after a time or a cursor.");
  const answer = await ask("POST", `${pathOf(id)}/replay`, JSON.stringify({ after }));
  terminal.print(values.json === true ? JSON.stringify(answer) : `${id} begins again after ${after}`);
  return 0;
}

async function listAttempts({ values, terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  const limit = wholeNumber("--limit", values.limit, 1) ?? DEFAULT_LIMIT;
  for await (const attempt of readItems<Attempt>(ask, `${pathOf(id)}/attempts`, {}, limit)) {
    const { at, webhookId, status, durationMs, error } = attempt;
    const what = error ?? `HTTP ${status}`;
    const line = `${at} ${webhookId} ${what}, ${durationMs} ms`;
    terminal.print(values.json === true ? JSON.stringify(attempt) : line);
  }
  return 0;
}

async function deleteWebhook({ terminal, ask, words: [id = ""] }: WebhooksCall): Promise<ExitCode> {
  await ask("DELETE", pathOf(id));
  terminal.print(`${id} deleted`);
  return 0;
}

function pathOf(id: string): string {
  return `/v1/webhooks/${encodeURIComponent(id)}`;
}
