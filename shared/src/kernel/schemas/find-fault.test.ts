// Tests find-fault against TypeBox, whose answers it gives.
// Guarantees: on random values, mostly nearly right ones, both find the same first fault, in the same words.
import fc from "fast-check";
import { Value } from "typebox/value";
import { expect, test } from "vitest";
import { findFault } from "./find-fault.js";
import { Type } from "./json-schema.js";

const closed = { additionalProperties: false } as const;
const schema = Type.Array(
  Type.Object(
    {
      id: Type.String({ pattern: "^[a-z0-9]{1,8}$", description: "What it is." }),
      kinds: Type.Array(Type.Enum(["a", "b", "c"]), { minItems: 1, maxItems: 3, uniqueItems: true }),
      only: Type.Optional(Type.Literal("this")),
      limit: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 9 }), Type.Literal("none")])),
      part: Type.Optional(Type.Object({ "a/b~": Type.Boolean(), none: Type.Null() }, closed)),
      share: Type.Optional(Type.Number({ minimum: -1.5 })),
      more: Type.Optional(Type.Object({}, { additionalProperties: true })),
    },
    closed,
  ),
  { maxItems: 2 },
);

const rarely = <T>(right: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary: right }, { weight: 1, arbitrary: fc.jsonValue() });
const entries = rarely(
  fc.array(
    rarely(
      fc
        .record(
          {
            id: rarely(fc.stringMatching(/^[a-z0-9]{1,9}$/)),
            kinds: rarely(fc.array(rarely(fc.constantFrom("a", "b", "c")), { maxLength: 4 })),
            only: rarely(fc.constant("this")),
            limit: rarely(fc.oneof(fc.integer({ min: -2, max: 11 }), fc.constantFrom("none", 1.5))),
            part: rarely(fc.record({ "a/b~": rarely(fc.boolean()), none: rarely(fc.constant(null)) })),
            share: rarely(fc.double({ noNaN: true, noDefaultInfinity: true })),
            more: rarely(fc.dictionary(fc.string(), fc.jsonValue())),
            "~strange/": fc.boolean(),
          },
          { requiredKeys: ["id", "kinds"] },
        )
        // Otherwise each would have a fault.
        .chain((entry) => fc.boolean().map((isStrange) => (isStrange ? entry : without(entry)))),
    ),
    { maxLength: 3 },
  ),
);

function without({ "~strange/": _strange, ...rest }: { readonly "~strange/"?: boolean }): object {
  return rest;
}

function compare(value: unknown): ReturnType<typeof findFault> {
  const [first] = Value.Errors(schema, value);
  const fault = findFault(schema, value);
  expect(fault).toEqual(first && { path: first.instancePath, message: first.message });
  expect(fault === undefined).toBe(Value.Check(schema, value));
  return fault;
}

test("finds what TypeBox finds first", () => {
  fc.assert(
    fc.property(entries, (given) => void compare(JSON.parse(JSON.stringify(given)))),
    { numRuns: 300 },
  );
});

const good = { id: "a", kinds: ["a"] };

test("finds nothing where there is nothing", () => {
  expect(compare([])).toBeUndefined();
  const part = { "a/b~": true, none: null };
  const full = { ...good, only: "this", limit: 9, part, share: -1.5, more: { any: 1 } };
  expect(compare([full, { ...good, limit: "none" }])).toBeUndefined();
});

test.each<[string, string, unknown]>([
  ["", "must be array", {}],
  ["", "must not have more than 2 items", [good, good, good]],
  ["/1", "must be object", [good, []]],
  ["/0", "must be object", [null]],
  ["/0", "must have required properties id, kinds", [{ only: 1 }]],
  ["/0/~0strange~1", "schema is false", [{ ...good, "~strange/": 1, only: 1 }]],
  ["/0/id", "must be string", [{ ...good, id: 1, only: 1 }]],
  ["/0/id", 'must match pattern "^[a-z0-9]{1,8}$"', [{ ...good, id: "A" }]],
  ["/0/kinds", "must not have fewer than 1 items", [{ ...good, kinds: [] }]],
  ["/0/kinds", "must not have duplicate items", [{ ...good, kinds: ["a", "a"] }]],
  ["/0/kinds/1", "must be equal to one of the allowed values", [{ ...good, kinds: ["a", "d"] }]],
  ["/0/only", "must be equal to constant", [{ ...good, only: "that" }]],
  ["/0/limit", "must be integer", [{ ...good, limit: 1.5 }]],
  ["/0/limit", "must be >= 0", [{ ...good, limit: -1 }]],
  ["/0/limit", "must be <= 9", [{ ...good, limit: 10 }]],
  ["/0/part/a~1b~0", "must be boolean", [{ ...good, part: { "a/b~": 0, none: null } }]],
  ["/0/part/none", "must be null", [{ ...good, part: { "a/b~": true, none: 0 } }]],
  ["/0/share", "must be number", [{ ...good, share: "1" }]],
])("%s %s", (path, message, value) => {
  expect(compare(value)).toEqual({ path, message });
});

test("a rule that it does not know is an error", () => {
  expect(() => findFault(Type.String({ format: "date" }), "x")).toThrow("format is not understood");
});
