// run-petrel -> here -> commands, operate: runs one action of a command that has several, such as `petrel keys rotate`.
// Guarantees: an unknown action, or another action's option, is a usage error that names it.
import { type Ask, createAsk } from "./ask-service.js";
import { usageError, type ExitCode } from "./cli-error.js";
import type { addressOptions, AddressValues } from "./cluster-address.js";
import { type OptionSpecs, type OptionValues, readArguments } from "./read-arguments.js";
import type { Terminal } from "./terminal.js";

export interface Call<Specs extends OptionSpecs> {
  readonly values: OptionValues<Specs>;
  /** One for each word that the action needs. */
  readonly words: readonly string[];
  readonly terminal: Terminal;
  readonly ask: Ask;
}

export interface Action<Specs extends OptionSpecs> {
  /** The words it needs, such as ["USER", "ID"]; may depend on the arguments. */
  readonly words: readonly string[] | ((args: readonly string[]) => readonly string[]);
  /** Options that only this action takes, and others that name them too. */
  readonly options?: readonly (keyof Specs & string)[];
  readonly run: (call: Call<Specs>) => Promise<ExitCode>;
}

export interface ActionCommand<Specs extends OptionSpecs> {
  /** As typed: "dead-letters". */
  readonly name: string;
  /** The service it calls, with an operator's key. */
  readonly service: "auth" | "dispatch";
  readonly options: Specs;
  readonly actions: Readonly<Record<string, Action<Specs>>>;
}

export async function runAction<Specs extends OptionSpecs & typeof addressOptions>(
  { name: command, service, options, actions }: ActionCommand<Specs>,
  args: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  const [name = "", ...rest] = args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action === undefined) {
    const names = Object.keys(actions);
    const about = command.replaceAll("-", " ");
    throw usageError(`which action for ${about}? Choose from: ${names.join(", ")}.`);
  }
  const words = typeof action.words === "function" ? action.words(rest) : action.words;
  const given = readArguments(rest, options, words);
  const surplus = Object.values(actions)
    .flatMap((one) => one.options ?? [])
    .find((option) => given.values[option] !== undefined && action.options?.includes(option) !== true);
  if (surplus !== undefined) throw usageError(`--${surplus} is not for ${command} ${name}`);
  // The address options are among them: `Specs` has them.
  const values: AddressValues = given.values as AddressValues;
  // Only when the action calls the service, so that errors in the command line are reported first.
  const ask: Ask = (...question) => createAsk(service, "adminKey", values, terminal)(...question);
  return action.run({ values: given.values, words: given.words, terminal, ask });
}
