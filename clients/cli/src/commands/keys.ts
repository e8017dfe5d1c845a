// `petrel keys list|create|rotate|suspend|resume|limit|revoke`.
// Guarantees: a secret is printed once, as KEY.SECRET. Standard output has nothing else, for scripts; all other lines
// go to standard error.
import { type Answer, readItems } from "../ask-service.js";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { wholeNumber } from "../read-arguments.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const keysOptions = {
  ...addressOptions,
  name: { type: "string" },
  owner: { type: "string" },
  scopes: { type: "string" },
  signing: { type: "boolean" },
  "require-signature": { type: "boolean" },
  "messages-per-second": { type: "string" },
  "overlap-seconds": { type: "string" },
  json: { type: "boolean" },
} as const;

type KeysCall = Call<typeof keysOptions>;

interface ListedKey {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
  readonly scopes: readonly string[];
  readonly signing: boolean;
  readonly require?: string;
  readonly messagesPerSecond?: number | "unlimited";
  readonly createdAt: string;
  readonly rotatedAt?: string;
  readonly formerUntil?: string;
  readonly revokedAt?: string;
  readonly suspendedAt?: string;
}

export const runKeys = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "keys",
      service: "auth",
      options: keysOptions,
      actions: {
        list: { words: [], run: listKeys },
        create: {
          words: [],
          options: ["name", "owner", "scopes", "signing", "require-signature", "messages-per-second"],
          run: createKey,
        },
        rotate: { words: ["ID"], options: ["overlap-seconds"], run: rotateKey },
        suspend: { words: ["ID"], run: (call) => updateKey(call, { suspended: true }) },
        resume: { words: ["ID"], run: (call) => updateKey(call, { suspended: false }) },
        limit: { words: ["ID", "MESSAGES_PER_SECOND"], run: limitKey },
        revoke: { words: ["ID"], run: revokeKey },
      },
    },
    args,
    terminal,
  );

async function listKeys({ values, terminal, ask }: KeysCall): Promise<ExitCode> {
  for await (const key of readItems<ListedKey>(ask, "/v1/keys")) {
    terminal.print(values.json === true ? JSON.stringify(key) : describeKey(key));
  }
  return 0;
}

function describeKey(key: ListedKey): string {
  const { id, owner, name, scopes, signing, require, messagesPerSecond, createdAt } = key;
  const facts = [
    ...(require === undefined ? (signing ? ["may sign"] : []) : ["must sign"]),
    ...(messagesPerSecond === undefined ? [] : [describeLimit(messagesPerSecond)]),
    `created ${createdAt}`,
    ...(key.rotatedAt === undefined ? [] : [`rotated ${key.rotatedAt}`]),
    ...(key.formerUntil === undefined ? [] : [`a former secret good until ${key.formerUntil}`]),
    ...(key.suspendedAt === undefined ? [] : [`SUSPENDED ${key.suspendedAt}`]),
    ...(key.revokedAt === undefined ? [] : [`REVOKED ${key.revokedAt}`]),
  ];
  return `${id} ${owner} ${scopes.join(",")} ${facts.join(", ")}: ${name}`;
}

function describeLimit(messagesPerSecond: number | "unlimited"): string {
  if (messagesPerSecond === "unlimited") return "no limit";
  return messagesPerSecond === 0 ? "may send nothing" : `${messagesPerSecond} messages/s`;
}

function readLimit(text: string | undefined): number | "unlimited" | undefined {
  return text === "unlimited" ? text : wholeNumber("--messages-per-second", text, 0);
}

async function createKey({ values, terminal, ask }: KeysCall): Promise<ExitCode> {
  const { name, owner, scopes, signing } = values;
  if (name === undefined) throw usageError("--name is missing");
  if (scopes === undefined) throw usageError("--scopes is missing, such as --scopes send,read");
  const request = {
    name,
    owner,
    scopes: scopes.split(",").map((scope) => scope.trim()),
    signing,
    require: values["require-signature"] === true ? "signature" : undefined,
    messagesPerSecond: readLimit(values["messages-per-second"]),
  };
  const answer = await ask("POST", "/v1/keys", JSON.stringify(request));
  return printSecret(answer, values, terminal);
}

async function rotateKey({ values, terminal, ask, words: [id = ""] }: KeysCall): Promise<ExitCode> {
  const overlapSeconds = wholeNumber("--overlap-seconds", values["overlap-seconds"], 0);
  const answer = await ask("POST", `${pathOf(id)}/rotate`, JSON.stringify({ overlapSeconds }));
  return printSecret(answer, values, terminal);
}

function printSecret(answer: Answer, { json }: KeysCall["values"], { print, note }: Terminal): ExitCode {
  const { id, secret } = answer;
  if (typeof id !== "string" || typeof secret !== "string") {
    throw new CliError("auth answered without a secret");
  }
  print(json === true ? JSON.stringify(answer) : `${id}.${secret}`);
  note("The secret is shown only this once.");
  return 0;
}

async function updateKey(
  { values, terminal, ask, words: [id = ""] }: KeysCall,
  change: { readonly suspended?: boolean; readonly messagesPerSecond?: number | "unlimited" | null },
): Promise<ExitCode> {
  const key = (await ask("PATCH", pathOf(id), JSON.stringify(change))) as unknown as ListedKey;
  terminal.print(values.json === true ? JSON.stringify(key) : describeKey(key));
  return 0;
}

async function limitKey(call: KeysCall): Promise<ExitCode> {
  const [, limit = ""] = call.words;
  const messagesPerSecond =
    limit === "default" ? null : limit === "unlimited" ? limit : wholeNumber("MESSAGES_PER_SECOND", limit, 0);
  return updateKey(call, messagesPerSecond === undefined ? {} : { messagesPerSecond });
}

async function revokeKey({ values, terminal, ask, words: [id = ""] }: KeysCall): Promise<ExitCode> {
  await ask("DELETE", pathOf(id));
  if (values.json !== true) terminal.print(`${id} revoked`);
  return 0;
}

function pathOf(id: string): string {
  return `/v1/keys/${encodeURIComponent(id)}`;
}
