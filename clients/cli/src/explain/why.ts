// `petrel why MESSAGE`: what became of a message and why, in plain words.
// Guarantees: reads only. Says so if it knows less because collect is of an older release.
import { createAsk, type Ask } from "../ask-service.js";
import { CliError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";
import { describeOutcome, describeReasons, describeTimeline } from "./describe-way.js";
import type { MessageAnswer } from "./message-answer.js";

export const whyOptions = {
  ...addressOptions,
  json: { type: "boolean" },
} as const;

export async function runWhy(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [id],
  } = readArguments(args, whyOptions, ["MESSAGE"]);
  const ask = createAsk("collect", "key", values, terminal);
  const answer = await readMessage(ask, id, terminal);
  const why = [describeOutcome(answer), ...describeReasons(answer)];
  if (values.json === true) {
    terminal.print(JSON.stringify({ ...answer, why }));
    return 0;
  }
  const { to, seq } = answer;
  const recipient = to.user ?? to.topic ?? "everyone";
  terminal.print(`${answer.id} to ${recipient}${seq === undefined ? "" : `, number ${seq}`}`);
  for (const sentence of why) terminal.print(sentence);
  for (const line of describeTimeline(answer)) terminal.print(`  ${line}`);
  return 0;
}

/** @throws CliError if there is no such message, and says what that may mean */
export async function readMessage(
  ask: Ask,
  id: string,
  { note }: Pick<Terminal, "note">,
): Promise<MessageAnswer> {
  const path = `/v1/messages/${encodeURIComponent(id)}`;
  try {
    return (await ask("GET", `${path}?explain=true`)) as unknown as MessageAnswer;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (error.message.includes(" PETREL_NOT_FOUND")) {
      throw new CliError(
        `there is no message ${id}: it was never accepted (a send that was answered 429 or 503 has no message), its ` +
          "user was erased, or it ended more than a day ago",
        { cause: error },
      );
    }
    if (error.message.includes(" PETREL_INVALID_REQUEST: params")) {
      throw new CliError(`"${id}" cannot be a message's id: those have only letters, digits, - and _`, {
        exitCode: 2,
        cause: error,
      });
    }
    // An earlier release refuses the parameter.
    if (!error.message.includes("answered 400 PETREL_INVALID_REQUEST: querystring")) throw error;
    note("collect is of a release that does not explain: only the timeline is known");
    return (await ask("GET", path)) as unknown as MessageAnswer;
  }
}
