// `petrel dead-letters list|show|replay|delete|purge`.
// Guarantees: a removal or replay always names an id, a cause or --all; the exit code is 1 unless all of it succeeded.
import { type Ask, readItems } from "../ask-service.js";
import { CliError, describeError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { wholeNumber } from "../read-arguments.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";

export const deadLettersOptions = {
  ...addressOptions,
  cause: { type: "string" },
  all: { type: "boolean" },
  limit: { type: "string" },
  json: { type: "boolean" },
} as const;

type LettersCall = Call<typeof deadLettersOptions>;

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

/** A replay takes an id or a cause. */
const replayWords = (args: readonly string[]): readonly string[] =>
  args.some((arg) => arg === "--cause" || arg.startsWith("--cause=")) ? [] : ["ID"];

export const runDeadLetters = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "dead-letters",
      service: "dispatch",
      options: deadLettersOptions,
      actions: {
        list: { words: [], run: listLetters },
        show: { words: ["ID"], run: showLetter },
        replay: { words: replayWords, run: replayLetters },
        delete: { words: ["ID"], run: deleteLetter },
        purge: { words: [], run: purgeLetters },
      },
    },
    args,
    terminal,
  );

async function listLetters({ values, terminal, ask }: LettersCall): Promise<ExitCode> {
  const limit = wholeNumber("--limit", values.limit, 1) ?? DEFAULT_LIMIT;
  const { cause } = values;
  const upTo = values.all === true ? Infinity : limit;
  for await (const letter of readItems<Letter>(ask, "/v1/dead-letters", { cause }, upTo)) {
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

/** Collects all ids before the first replay, because replays change the list. */
async function idsOf(ask: Ask, cause: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of readItems<Letter>(ask, "/v1/dead-letters", { cause })) ids.push(id);
  return ids;
}

async function showLetter({ values, terminal, ask, words: [id = ""] }: LettersCall): Promise<ExitCode> {
  const letter = await ask("GET", pathOf(id));
  const text = values.json === true ? JSON.stringify(letter) : JSON.stringify(letter, undefined, 2);
  for (const line of text.split("\n")) terminal.print(line);
  return 0;
}

async function replayLetters({ values, terminal, ask, words: [id = ""] }: LettersCall): Promise<ExitCode> {
  const ids = values.cause === undefined ? [id] : await idsOf(ask, values.cause);
  let failures = 0;
  for (const each of ids) {
    try {
      const answer = await ask("POST", `${pathOf(each)}/replay`);
      terminal.print(values.json === true ? JSON.stringify(answer) : `${String(answer["id"])} sent again`);
    } catch (error) {
      // One of them may have been delivered meanwhile: carry on with the others.
      if (ids.length === 1 || !(error instanceof CliError) || terminal.interrupted.aborted) throw error;
      terminal.note(`${each}: ${describeError(error)}`);
      failures++;
    }
  }
  if (values.cause !== undefined) terminal.note(`${ids.length - failures} of ${ids.length} sent again`);
  return failures === 0 ? 0 : 1;
}

async function deleteLetter({ terminal, ask, words: [id = ""] }: LettersCall): Promise<ExitCode> {
  await ask("DELETE", pathOf(id));
  terminal.print(`${id} deleted`);
  return 0;
}

async function purgeLetters({ values, terminal, ask }: LettersCall): Promise<ExitCode> {
  const { cause, all, json } = values;
  if ((cause === undefined) === (all !== true)) throw usageError("which ones? Give either --cause or --all.");
  const query = cause === undefined ? "" : `?${new URLSearchParams({ cause }).toString()}`;
  const answer = await ask("DELETE", `/v1/dead-letters${query}`);
  terminal.print(json === true ? JSON.stringify(answer) : `${String(answer["purged"])} deleted`);
  return 0;
}

function pathOf(id: string): string {
  return `/v1/dead-letters/${encodeURIComponent(id)}`;
}
