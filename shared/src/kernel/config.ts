// Reads a service's environment by a schema, which also documents it.
// Guarantees: the result is validated and frozen; all errors are reported at once, by name.
import { describeError } from "./errors.js";
import { parseUrl } from "./parse-url.js";

export interface Setting<T> {
  readonly describe: string;
  /** Used when the variable is unset, empty or only a line break; without a default the variable is required. */
  readonly default?: T;
  /** Throws an Error whose message completes "NAME must be …". */
  readonly parse: (text: string) => T;
}

export type Schema = Readonly<Record<string, { readonly env: string; readonly setting: Setting<unknown> }>>;

type ValueOf<S extends Schema> = {
  readonly [K in keyof S]: S[K]["setting"] extends Setting<infer T> ? T : never;
};

export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * @param schema setting name -> environment variable and how to read it
 * @param environment usually process.env, passed in by main.ts
 * @throws ConfigError naming every variable that is missing or wrong
 */
export function readConfig<S extends Schema>(
  schema: S,
  environment: Readonly<Record<string, string | undefined>>,
): ValueOf<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, { env, setting }] of Object.entries(schema)) {
    // A Secret created from a file ends with that file's line break.
    const text = environment[env]?.replace(/\r?\n$/, "");
    if (text === undefined || text === "") {
      if ("default" in setting) values[name] = setting.default;
      else problems.push(`${env} is required: ${setting.describe}`);
      continue;
    }
    try {
      values[name] = setting.parse(text);
    } catch (error) {
      problems.push(`${env} must be ${describeError(error)}`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.join("; "));
  return Object.freeze(values) as ValueOf<S>;
}

/** The schema as the lines of a Markdown table, for docs/operate/configuration.md. */
export function documentConfig(schema: Schema): string[] {
  return Object.values(schema).map(({ env, setting }) => {
    const fallback = "default" in setting ? shown(setting.default) : "(required)";
    return `| \`${env}\` | ${fallback} | ${setting.describe} |`;
  });
}

function shown(value: unknown): string {
  if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) return "(none)";
  return `\`${JSON.stringify(value)}\``;
}

function setting<T>(
  env: string,
  describe: string,
  parse: (text: string) => T,
  fallback: { readonly default?: T },
): { readonly env: string; readonly setting: Setting<T> } {
  return { env, setting: { describe, parse, ...fallback } };
}

interface NumberBounds {
  readonly default?: number;
  readonly min?: number;
  readonly max?: number;
}

/** A whole number within bounds. */
export function integer(env: string, describe: string, { min = 0, max = 2 ** 31, ...rest }: NumberBounds) {
  return setting(
    env,
    describe,
    (text) => {
      const value = Number(text);
      if (!/^-?\d+$/.test(text) || value < min || value > max) {
        throw new Error(`a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
      }
      return value;
    },
    rest,
  );
}

export function text(env: string, describe: string, rest: { readonly default?: string } = {}) {
  return setting(env, describe, (value) => value, rest);
}

/** An optional text. */
export function optionalText(env: string, describe: string) {
  return setting<string | undefined>(env, describe, (value) => value, { default: undefined });
}

/** An optional integer, such as a port that opens only if it is set. */
export function optionalInteger(env: string, describe: string, bounds: Omit<NumberBounds, "default"> = {}) {
  const strict = integer(env, describe, bounds);
  return setting<number | undefined>(env, describe, strict.setting.parse, { default: undefined });
}

export function url(
  env: string,
  describe: string,
  { protocols, ...rest }: { readonly default?: string; readonly protocols: readonly string[] },
) {
  return setting(
    env,
    describe,
    (value) => {
      if (!protocols.includes(parseUrl(value)?.protocol.slice(0, -1) ?? "")) {
        throw new Error(`a URL with ${protocols.map((p) => `${p}://`).join(" or ")}`);
      }
      return value;
    },
    rest,
  );
}

/** A fraction: 0 to 1. */
export function share(env: string, describe: string, rest: { readonly default?: number }) {
  return setting(
    env,
    describe,
    (text) => {
      const value = Number(text);
      if (!/^(?:0|1|[01]?\.\d+)$/.test(text) || value > 1) {
        throw new Error(`a number from 0 to 1, not ${JSON.stringify(text)}`);
      }
      return value;
    },
    rest,
  );
}

/** One of a fixed set of words. */
export function choice<const C extends readonly string[]>(
  env: string,
  describe: string,
  { of, ...rest }: { readonly of: C; readonly default?: C[number] },
) {
  return setting<C[number]>(
    env,
    describe,
    (value) => {
      const found = of.find((word) => word === value);
      if (found === undefined) throw new Error(`one of ${of.join(", ")}, not ${JSON.stringify(value)}`);
      return found;
    },
    rest,
  );
}

/**
 * One or more of a fixed set of words, separated by commas.
 * @param options.formerly words of earlier releases -> what they are called now
 */
export function choices<const C extends readonly string[]>(
  env: string,
  describe: string,
  {
    of,
    formerly = {},
    ...rest
  }: {
    readonly of: C;
    readonly formerly?: Readonly<Record<string, C[number]>>;
    readonly default?: readonly C[number][];
  },
) {
  return setting<readonly C[number][]>(
    env,
    describe,
    (value) => {
      const given = value.split(",").map((word) => word.trim());
      const words = given.map((word) => (Object.hasOwn(formerly, word) ? formerly[word] : word));
      const found = of.filter((word) => words.includes(word));
      if (found.length !== words.length) {
        throw new Error(`some of ${of.join(", ")}, each once, not ${JSON.stringify(value)}`);
      }
      return found;
    },
    rest,
  );
}

/** Several words whose order counts. */
export function orderedChoices<const C extends readonly string[]>(
  env: string,
  describe: string,
  { of, ...rest }: { readonly of: C; readonly default?: readonly C[number][] },
) {
  return setting<readonly C[number][]>(
    env,
    describe,
    (value) => {
      const given = value.split(",").map((word) => word.trim());
      const found = given.flatMap((word) => of.find((known) => known === word) ?? []);
      if (found.length !== given.length || new Set(found).size !== found.length) {
        throw new Error(`some of ${of.join(", ")}, each once, not ${JSON.stringify(value)}`);
      }
      return found;
    },
    rest,
  );
}

export function flag(env: string, describe: string, rest: { readonly default?: boolean }) {
  return setting(
    env,
    describe,
    (value) => {
      if (value !== "true" && value !== "false")
        throw new Error(`true or false, not ${JSON.stringify(value)}`);
      return value === "true";
    },
    rest,
  );
}

/** Words separated by commas; spaces around them do not count. */
export function list(env: string, describe: string, rest: { readonly default?: readonly string[] }) {
  return setting<readonly string[]>(
    env,
    describe,
    (value) =>
      value
        .split(",")
        .map((word) => word.trim())
        .filter((word) => word !== ""),
    rest,
  );
}

/**
 * A variable of the contract that is not implemented: setting it is an error rather than ignored.
 * @param allowed values that describe what happens anyway
 */
export function notBuilt(env: string, allowed: readonly string[] = []) {
  const describe = allowed.length === 0 ? "not built yet" : `not built yet, but for ${allowed.join(", ")}`;
  return setting<string | undefined>(
    env,
    describe,
    (value) => {
      if (!allowed.includes(value)) throw new Error(`left out: it is ${describe}`);
      return value;
    },
    { default: undefined },
  );
}
