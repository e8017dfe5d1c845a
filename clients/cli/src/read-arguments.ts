// Reads a command's own arguments.
// Guarantees: an unknown option, a missing or extra word, or a malformed number is a usage error that names it.
import { parseArgs } from "node:util";
import { describeError, usageError } from "./cli-error.js";

export type OptionSpecs = Readonly<
  Record<string, { readonly type: "string" | "boolean"; readonly multiple?: boolean }>
>;

export type OptionValues<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]?: Specs[Name] extends { readonly type: "boolean" }
    ? boolean
    : Specs[Name] extends { readonly multiple: true }
      ? readonly string[]
      : string;
};

export interface Arguments<Specs extends OptionSpecs, Words extends readonly string[]> {
  readonly values: OptionValues<Specs>;
  /** One text for each required word. */
  readonly words: { readonly [Index in keyof Words]: string };
}

/**
 * @param words names of the required words, in order
 * @throws CliError with exit code 2
 */
export function readArguments<Specs extends OptionSpecs, const Words extends readonly string[]>(
  args: readonly string[],
  specs: Specs,
  words: Words,
): Arguments<Specs, Words> {
  const { values, positionals } = parse(args, specs);
  const missing = words[positionals.length];
  if (missing !== undefined) throw usageError(`${missing} is missing`);
  const surplus = positionals[words.length];
  if (surplus !== undefined) throw usageError(`unexpected word ${JSON.stringify(surplus)}`);
  return {
    values: values as OptionValues<Specs>,
    words: positionals as unknown as Arguments<Specs, Words>["words"],
  };
}

function parse(args: readonly string[], options: OptionSpecs) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw usageError(describeError(error));
  }
}

/** @returns the number, or undefined if the option was not given */
export function wholeNumber(option: string, text: string | undefined, min: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
    throw usageError(`${option} must be a whole number of at least ${min}, not ${JSON.stringify(text)}`);
  }
  return value;
}
