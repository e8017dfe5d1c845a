// `petrel audit`: who did what to whom.
// Guarantees: only reads; prints the newest first, as many as were requested, however few a page holds.
import { createAsk, readItems } from "../ask-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const auditOptions = {
  ...addressOptions,
  actor: { type: "string" },
  action: { type: "string" },
  target: { type: "string" },
  all: { type: "boolean" },
  limit: { type: "string" },
  json: { type: "boolean" },
} as const;

interface Act {
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

const DEFAULT_LIMIT = 50;

export async function runAudit(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { values } = readArguments(args, auditOptions, []);
  const limit = wholeNumber("--limit", values.limit, 1) ?? DEFAULT_LIMIT;
  const { actor, action, target } = values;
  const ask = createAsk("auth", "adminKey", values, terminal);
  const filters = { actor, action, target };
  for await (const act of readItems<Act>(ask, "/v1/audit", filters, values.all === true ? Infinity : limit)) {
    terminal.print(values.json === true ? JSON.stringify(act) : describeAct(act));
  }
  return 0;
}

function describeAct({ at, actor, action, target, details }: Act): string {
  const facts = Object.entries(details).map(([name, value]) => `${name}=${value}`);
  return [at, actor, action, target, ...facts].join(" ");
}
