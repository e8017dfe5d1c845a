// Tests json-schema against TypeBox, whose schemas it makes.
// Guarantees: the same JSON, in the same order, however schemas stand in one another.
import * as fc from "fast-check";
import { Type as TypeBox, type TSchema } from "typebox";
import { expect, test } from "vitest";
import { Type } from "./json-schema.js";

type Builders = typeof Type;
type Build = (builders: Builders) => TSchema;

const options = fc.record(
  { description: fc.string(), title: fc.string(), default: fc.string() },
  { requiredKeys: [] },
);
const names = fc.constantFrom("a", "b", "c", "type", "~optional", "~kind");

const { build } = fc.letrec<{ build: Build; leaf: Build; nested: Build; members: Record<string, Build> }>(
  (tie) => ({
    build: fc.oneof({ maxDepth: 4 }, tie("leaf"), tie("nested")),
    leaf: options.chain((given) =>
      fc.constantFrom<Build[]>(
        (t) => t.String(given),
        (t) => t.String(),
        (t) => t.Boolean(given),
        (t) => t.Integer({ minimum: 1, ...given }),
        (t) => t.Number(given),
        (t) => t.Null(given),
        (t) => t.Unknown(given),
        (t) => t.Enum(["x", "y"], given),
        (t) => t.Literal("x", given),
        (t) => t.Literal(7),
        (t) => t.Literal(true),
        (t) => t.Unsafe<string>({ type: ["string", "null"], ...given }),
        (t) => t.Object({}, given),
      ),
    ),
    members: fc.dictionary(names, tie("build"), { maxKeys: 4 }),
    nested: fc
      .tuple(options, tie("build"), tie("members"), fc.array(tie("build"), { maxLength: 3 }))
      .chain(([given, inner, members, several]) =>
        fc.constantFrom<Build[]>(
          (t) => t.Array(inner(t), given),
          (t) => t.Optional(inner(t)),
          (t) => t.Unsafe(inner(t)),
          (t) => t.Record(t.String(), inner(t), given),
          (t) =>
            t.Union(
              several.map((one) => one(t)),
              given,
            ),
          (t) =>
            t.Object(Object.fromEntries(Object.entries(members).map(([name, one]) => [name, one(t)])), given),
        ),
      ),
  }),
);

test("makes the JSON that TypeBox makes", () => {
  fc.assert(
    fc.property(build, (make) => {
      const made = JSON.stringify(make(Type));
      expect(made).toBe(JSON.stringify(make(TypeBox as unknown as Builders)));
    }),
    { numRuns: 300 },
  );
});

test("optional fields are not required", () => {
  const make = (t: Builders): TSchema =>
    t.Object({ a: t.String(), b: t.Optional(t.Integer({ title: "B" })), c: t.Null() }, { title: "O" });
  expect(JSON.stringify(make(Type))).toBe(JSON.stringify(make(TypeBox as unknown as Builders)));
  expect(make(Type)).toMatchObject({ required: ["a", "c"], title: "O" });
});
