// What a process reads at its start (a file of keys) -> here: the first thing in a value that its schema does not allow.
// Guarantees: the place and the words are TypeBox's, of which nothing is loaded; a rule that this file does not know is
// an error, never skipped.
import type { TSchema } from "typebox";

export interface Fault {
  /** A JSON Pointer; "" is the value itself. */
  readonly path: string;
  /** Such as "must be integer". Never quotes the value. */
  readonly message: string;
}

/** The part of JSON Schema that is understood. */
interface Rules {
  readonly type?: "array" | "boolean" | "integer" | "null" | "number" | "object" | "string";
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Rules[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Rules>>;
  readonly additionalProperties?: boolean;
  readonly items?: Rules;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

const known: Readonly<Record<keyof Rules, true>> = {
  type: true,
  const: true,
  enum: true,
  anyOf: true,
  required: true,
  properties: true,
  additionalProperties: true,
  items: true,
  minItems: true,
  maxItems: true,
  uniqueItems: true,
  pattern: true,
  minimum: true,
  maximum: true,
};
const annotations: readonly string[] = ["title", "description", "default"];

/** @param value as JSON.parse returns it */
export function findFault(schema: TSchema, value: unknown): Fault | undefined {
  return check(schema as Rules, value, "");
}

function check(rules: Rules, value: unknown, path: string): Fault | undefined {
  for (const rule of Object.keys(rules))
    if (!(rule in known) && !annotations.includes(rule)) throw new Error(`${rule} is not understood here`);
  const wrong = (message: string): Fault => ({ path, message });
  const { type, anyOf } = rules;
  if (type !== undefined && !isOf(type, value)) return wrong(`must be ${type}`);
  const inside = Array.isArray(value)
    ? checkItems(rules, value, path)
    : typeof value === "object" && value !== null
      ? checkMembers(rules, value as Readonly<Record<string, unknown>>, path)
      : undefined;
  if (inside !== undefined) return inside;
  const { pattern, minimum, maximum } = rules;
  if (typeof value === "string" && pattern !== undefined && !new RegExp(pattern, "u").test(value))
    return wrong(`must match pattern "${pattern}"`);
  if (typeof value === "number") {
    if (minimum !== undefined && value < minimum) return wrong(`must be >= ${minimum}`);
    if (maximum !== undefined && value > maximum) return wrong(`must be <= ${maximum}`);
  }
  if ("const" in rules && value !== rules.const) return wrong("must be equal to constant");
  if (rules.enum?.includes(value) === false) return wrong("must be equal to one of the allowed values");
  const faults = (anyOf ?? []).map((one) => check(one, value, path));
  return faults.includes(undefined) ? undefined : faults[0];
}

function checkMembers(
  { required = [], properties = {}, additionalProperties = true }: Rules,
  value: Readonly<Record<string, unknown>>,
  path: string,
): Fault | undefined {
  const missing = required.filter((name) => !Object.hasOwn(value, name));
  if (missing.length > 0) return { path, message: `must have required properties ${missing.join(", ")}` };
  const strange = Object.keys(value).find((name) => !Object.hasOwn(properties, name));
  if (!additionalProperties && strange !== undefined)
    return { path: `${path}/${escape(strange)}`, message: "schema is false" };
  for (const [name, rules] of Object.entries(properties)) {
    const fault = Object.hasOwn(value, name)
      ? check(rules, value[name], `${path}/${escape(name)}`)
      : undefined;
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function checkItems(
  { items, minItems = 0, maxItems = Infinity, uniqueItems = false }: Rules,
  value: readonly unknown[],
  path: string,
): Fault | undefined {
  for (const [i, item] of value.entries()) {
    const fault = items === undefined ? undefined : check(items, item, `${path}/${i}`);
    if (fault !== undefined) return fault;
  }
  if (value.length < minItems) return { path, message: `must not have fewer than ${minItems} items` };
  if (value.length > maxItems) return { path, message: `must not have more than ${maxItems} items` };
  if (uniqueItems && new Set(value.map((item) => JSON.stringify(item))).size < value.length)
    return { path, message: "must not have duplicate items" };
  return undefined;
}

function isOf(type: Rules["type"], value: unknown): boolean {
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

/** For a JSON Pointer. */
function escape(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
