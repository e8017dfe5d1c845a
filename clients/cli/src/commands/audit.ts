// `petrel audit`: who did what to whom.
// Guarantees: only reads; newest first, as many as were asked for, however few each page holds.
import { callService } from "../call-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
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
const PAGE_SIZE = 1_000;

export async function runAudit(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { values } = readArguments(args, auditOptions, []);
  const limit = wholeNumber("--limit", values.limit, 1) ?? DEFAULT_LIMIT;
  const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
  let left = values.all === true ? Infinity : limit;
  let cursor: unknown;
  do {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE_SIZE, left)) });
    for (const name of ["actor", "action", "target"] as const) {
      const value = values[name];
      if (value !== undefined) query.set(name, value);
    }
    if (typeof cursor === "string") query.set("cursor", cursor);
    const page = await callService({
      service: "auth",
      baseUrl: auth,
      key: adminKey,
      sign: values.sign === true,
      method: "GET",
      path: `/v1/audit?${query.toString()}`,
      interrupted: terminal.interrupted,
    });
    // A page may be short, even empty, though more follow.
    const acts = (page["items"] ?? []) as readonly Act[];
    for (const act of acts) terminal.print(values.json === true ? JSON.stringify(act) : describeAct(act));
    left -= acts.length;
    cursor = page["nextCursor"];
  } while (typeof cursor === "string" && left > 0);
  return 0;
}

function describeAct({ at, actor, action, target, details }: Act): string {
  const facts = Object.entries(details).map(([name, value]) => `${name}=${value}`);
  return [at, actor, action, target, ...facts].join(" ");
}
