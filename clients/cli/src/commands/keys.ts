// `petrel keys list|create|rotate|revoke`.
// Guarantees: a secret is printed once, alone on the standard output as KEY.SECRET, so that scripts can take it; what is
// about it goes to the standard error.
import { callService, type CallOptions } from "../call-service.js";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { type OptionValues, readArguments, wholeNumber } from "../read-arguments.js";
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

type Values = OptionValues<typeof keysOptions>;

interface Call {
  readonly values: Values;
  readonly terminal: Terminal;
  readonly id: string;
  readonly ask: (
    method: CallOptions["method"],
    path: string,
    body?: unknown,
  ) => Promise<Readonly<Record<string, unknown>>>;
}

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
}

type OptionName = keyof Omit<typeof keysOptions, keyof typeof addressOptions | "json">;

const PAGE_SIZE = 1_000;

const actions: Readonly<
  Record<
    string,
    {
      readonly words: readonly string[];
      readonly options: readonly OptionName[];
      run: (call: Call) => Promise<ExitCode>;
    }
  >
> = {
  list: { words: [], options: [], run: listKeys },
  create: {
    words: [],
    options: ["name", "owner", "scopes", "signing", "require-signature", "messages-per-second"],
    run: createKey,
  },
  rotate: { words: ["ID"], options: ["overlap-seconds"], run: rotateKey },
  revoke: { words: ["ID"], options: [], run: revokeKey },
};
const ownOptions: readonly OptionName[] = Object.values(actions).flatMap(({ options }) => options);

export async function runKeys(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name = "", ...rest] = args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action === undefined) {
    throw usageError(`what about keys? There are ${Object.keys(actions).join(", ")}.`);
  }
  const { values, words } = readArguments(rest, keysOptions, action.words);
  const surplus = ownOptions.find(
    (option) => values[option] !== undefined && !action.options.includes(option),
  );
  if (surplus !== undefined) throw usageError(`--${surplus} is not for keys ${name}`);
  const ask: Call["ask"] = (method, path, body) => {
    const { auth, adminKey } = findCluster(values, ["auth", "adminKey"], terminal);
    return callService({
      service: "auth",
      baseUrl: auth,
      key: adminKey,
      sign: values.sign === true,
      method,
      path,
      interrupted: terminal.interrupted,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  };
  return action.run({ values, terminal, id: words[0] ?? "", ask });
}

async function listKeys({ values, terminal, ask }: Call): Promise<ExitCode> {
  let cursor: unknown;
  do {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
    if (typeof cursor === "string") query.set("cursor", cursor);
    const page = await ask("GET", `/v1/keys?${query.toString()}`);
    for (const key of (page["items"] ?? []) as ListedKey[]) {
      terminal.print(values.json === true ? JSON.stringify(key) : describeKey(key));
    }
    cursor = page["nextCursor"];
  } while (typeof cursor === "string");
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

async function createKey({ values, terminal, ask }: Call): Promise<ExitCode> {
  const { name, owner, scopes, signing } = values;
  if (name === undefined) throw usageError("--name is missing");
  if (scopes === undefined) throw usageError("--scopes is missing, such as --scopes send,read");
  const answer = await ask("POST", "/v1/keys", {
    name,
    owner,
    scopes: scopes.split(",").map((scope) => scope.trim()),
    signing,
    require: values["require-signature"] === true ? "signature" : undefined,
    messagesPerSecond: readLimit(values["messages-per-second"]),
  });
  return printSecret(answer, values, terminal);
}

async function rotateKey({ values, terminal, id, ask }: Call): Promise<ExitCode> {
  const overlapSeconds = wholeNumber("--overlap-seconds", values["overlap-seconds"], 0);
  const answer = await ask("POST", `${pathOf(id)}/rotate`, { overlapSeconds });
  return printSecret(answer, values, terminal);
}

function printSecret(
  answer: Readonly<Record<string, unknown>>,
  { json }: Values,
  { print, note }: Terminal,
): ExitCode {
  const { id, secret } = answer;
  if (typeof id !== "string" || typeof secret !== "string") {
    throw new CliError("auth answered without a secret");
  }
  print(json === true ? JSON.stringify(answer) : `${id}.${secret}`);
  note("This is the only time the secret is shown.");
  return 0;
}

async function revokeKey({ values, terminal, id, ask }: Call): Promise<ExitCode> {
  await ask("DELETE", pathOf(id));
  if (values.json !== true) terminal.print(`${id} revoked`);
  return 0;
}

function pathOf(id: string): string {
  return `/v1/keys/${encodeURIComponent(id)}`;
}
