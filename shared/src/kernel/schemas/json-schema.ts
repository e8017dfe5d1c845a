// Every file that says what a request or an answer looks like -> here: a JSON Schema, with its TypeScript type.
// Guarantees: JSON and types equal TypeBox's. TypeBox itself is not loaded: its builders are 370 files, a third of a
// service's start time.
import type { StringKey, TObjectOptions, TRecord, TSchema, TString, Type as TypeBox } from "typebox";

type Builders = Pick<
  typeof TypeBox,
  | "Array"
  | "Boolean"
  | "Enum"
  | "Integer"
  | "Literal"
  | "Null"
  | "Number"
  | "Object"
  | "Optional"
  | "String"
  | "Union"
  | "Unknown"
  | "Unsafe"
> & {
  /** An object with arbitrary keys. */
  Record<Value extends TSchema>(
    key: TString,
    value: Value,
    options?: TObjectOptions,
  ): TRecord<typeof StringKey, Value>;
};

/** Marks a property as optional; not enumerable, so it never shows in the JSON. */
const OPTIONAL = "~optional";

export const Type: Builders = {
  Array: (items: object, options?: object) => schema({ type: "array", items }, options),
  Boolean: (options?: object) => schema({ type: "boolean" }, options),
  Enum: (values: object, options?: object) => schema({ enum: values }, options),
  Integer: (options?: object) => schema({ type: "integer" }, options),
  Literal: (value: unknown, options?: object) => schema({ type: typeof value, const: value }, options),
  Null: (options?: object) => schema({ type: "null" }, options),
  Number: (options?: object) => schema({ type: "number" }, options),
  Object: (properties: Readonly<Record<string, object>>, options?: object) => {
    const required = Object.keys(properties).filter((name) => !(OPTIONAL in (properties[name] ?? {})));
    return schema({ type: "object", ...(required.length > 0 ? { required } : {}), properties }, options);
  },
  Optional: (given: object) => Object.defineProperty(schema(given), OPTIONAL, { value: true }),
  Record: (_key: object, value: object, options?: object) =>
    schema({ type: "object", patternProperties: { "^.*$": value } }, options),
  String: (options?: object) => schema({ type: "string" }, options),
  Union: (anyOf: readonly object[], options?: object) => schema({ anyOf }, options),
  Unknown: (options?: object) => schema({}, options),
  Unsafe: (given: object) => given as never,
};

/** Returns `never`, so that only the builders' own signatures give it a type. */
function schema(members: object, options?: object): never {
  return { ...members, ...options } as never;
}
