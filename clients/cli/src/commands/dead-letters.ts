// `petrel dead-letters list|show|replay|delete|purge`.
// Guarantees: what is removed or sent again is named by an id or a cause, never by an omission; the exit code is 1 where
// anything that was asked for was not done.
import { callService } from "../call-service.js";
import { CliError, describeError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { type OptionValues, readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const deadLettersOptions = {
  ...addressOptions,
  cause: { type: "string" },
  all: { type: "boolean" },
  limit: { type: "string" },
  json: { type: "boolean" },
} as const;

type Values = OptionValues<typeof deadLettersOptions>;

interface Call {
  readonly values: Values;
  readonly terminal: Terminal;
  readonly ask: (
    method: "GET" | "POST" | "DELETE",
    path: string,
  ) => Promise<Readonly<Record<string, unknown>>>;
}

interface Letter {
  readonly id: string;
  readonly messageId: string;
  readonly user: string;
  readonly cause: string;
  readonly reason: string;
  readonly attempts: number;
  readonly at: string;
}

const DEFAULT_LIMIT = 50;
const PAGE_SIZE = 1_000;

const actions: Readonly<
  Record<string, { readonly words: readonly string[]; run: (call: Call, id: string) => Promise<ExitCode> }>
> = {
  list: { words: [], run: listLetters },
  show: { words: ["ID"], run: showLetter },
  replay: { words: [], run: replayLetters },
  delete: { words: ["ID"], run: deleteLetter },
  purge: { words: [], run: purgeLetters },
};

export async function runDeadLetters(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name = "", ...rest] = args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action === undefined) {
    throw usageError(`what about dead letters? There are ${Object.keys(actions).join(", ")}.`);
  }
  // A replay takes an id or a cause.
  const isById =
    name === "replay" && !rest.includes("--cause") && !rest.some((a) => a.startsWith("--cause="));
  const { values, words } = readArguments(rest, deadLettersOptions, isById ? ["ID"] : action.words);
  const { dispatch, adminKey } = findCluster(values, ["dispatch", "adminKey"], terminal);
  const ask: Call["ask"] = (method, path) =>
    callService({
      service: "dispatch",
      baseUrl: dispatch,
      key: adminKey,
      sign: values.sign === true,
      method,
      path,
      interrupted: terminal.interrupted,
    });
  return action.run({ values, terminal, ask }, words[0] ?? "");
}

async function listLetters({ values, terminal, ask }: Call): Promise<ExitCode> {
  const limit = wholeNumber("--limit", values.limit, 1) ?? DEFAULT_LIMIT;
  const letters = await readLetters(ask, values.cause, values.all === true ? Infinity : limit);
  for (const letter of letters) {
    if (values.json === true) {
      terminal.print(JSON.stringify(letter));
      continue;
    }
    const { id, at, cause, user, messageId, attempts, reason } = letter;
    const tries = attempts === 1 ? "1 attempt" : `${attempts} attempts`;
    terminal.print(`${id} ${at} ${cause} ${user} ${messageId} ${tries}: ${reason}`);
  }
  return 0;
}

async function readLetters(ask: Call["ask"], cause: string | undefined, limit: number): Promise<Letter[]> {
  const letters: Letter[] = [];
  let cursor: unknown;
  do {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE_SIZE, limit - letters.length)) });
    if (cause !== undefined) query.set("cause", cause);
    if (typeof cursor === "string") query.set("cursor", cursor);
    const page = await ask("GET", `/v1/dead-letters?${query.toString()}`);
    letters.push(...((page["items"] ?? []) as Letter[]));
    cursor = page["nextCursor"];
  } while (typeof cursor === "string" && letters.length < limit);
  return letters;
}

async function showLetter({ values, terminal, ask }: Call, id: string): Promise<ExitCode> {
  const letter = await ask("GET", pathOf(id));
  const text = values.json === true ? JSON.stringify(letter) : JSON.stringify(letter, undefined, 2);
  for (const line of text.split("\n")) terminal.print(line);
  return 0;
}

async function replayLetters({ values, terminal, ask }: Call, id: string): Promise<ExitCode> {
  const ids =
    values.cause === undefined ? [id] : (await readLetters(ask, values.cause, Infinity)).map((one) => one.id);
  let failures = 0;
  for (const each of ids) {
    try {
      const answer = await ask("POST", `${pathOf(each)}/replay`);
      terminal.print(values.json === true ? JSON.stringify(answer) : `${String(answer["id"])} sent again`);
    } catch (error) {
      // Of many, one that has been delivered meanwhile does not keep the others.
      if (ids.length === 1 || !(error instanceof CliError) || terminal.interrupted.aborted) throw error;
      terminal.note(`${each}: ${describeError(error)}`);
      failures++;
    }
  }
  if (values.cause !== undefined) terminal.note(`${ids.length - failures} of ${ids.length} sent again`);
  return failures === 0 ? 0 : 1;
}

async function deleteLetter({ terminal, ask }: Call, id: string): Promise<ExitCode> {
  await ask("DELETE", pathOf(id));
  terminal.print(`${id} deleted`);
  return 0;
}

async function purgeLetters({ values, terminal, ask }: Call): Promise<ExitCode> {
  const { cause, all, json } = values;
  if ((cause === undefined) === (all !== true)) throw usageError("which ones? Either --cause or --all.");
  const query = cause === undefined ? "" : `?${new URLSearchParams({ cause }).toString()}`;
  const answer = await ask("DELETE", `/v1/dead-letters${query}`);
  terminal.print(json === true ? JSON.stringify(answer) : `${String(answer["purged"])} deleted`);
  return 0;
}

function pathOf(id: string): string {
  return `/v1/dead-letters/${encodeURIComponent(id)}`;
}
