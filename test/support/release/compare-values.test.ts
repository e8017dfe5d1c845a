// Tests the comparison of two releases.
import { expect, test } from "vitest";
import { findDifferences } from "./compare-values.js";

const kinds = (before: unknown, after: unknown): string[] =>
  findDifferences(before, after, new Set(["description"])).map(({ path, kind }) => `${kind} ${path}`);

test("equal values, and changed words in ignored fields, are no difference", () => {
  const value = { a: [1, { b: null }], required: ["x"], description: "one" };
  expect(kinds(value, { ...structuredClone(value), description: "two" })).toEqual([]);
});

test("names removed and changed values at any depth; tells new ones apart", () => {
  expect(kinds({ a: { b: 1, c: 2 } }, { a: { b: "1", d: 3 } })).toEqual([
    "changed a.b",
    "removed a.c",
    "added a.d",
  ]);
  expect(kinds({ a: { b: 1 } }, { a: null })).toEqual(["changed a"]);
  expect(kinds({ a: [{ b: 1 }] }, { a: [{ b: 2 }, { b: 3 }] })).toEqual(["changed a.0.b", "added a.1"]);
});

test("treats lists of scalars as sets, and matches parameters by name", () => {
  expect(kinds({ enum: ["a", "b"] }, { enum: ["b", "c", "a"] })).toEqual(["added enum"]);
  expect(kinds({ enum: ["a", "b"] }, { enum: ["b"] })).toEqual(["removed enum"]);
  const [limit, cursor] = [
    { name: "limit", in: "query", schema: {} },
    { name: "cursor", in: "query", schema: {} },
  ];
  expect(kinds([limit, cursor], [cursor, limit])).toEqual([]);
});

test("a new required request field is a change", () => {
  expect(kinds({ body: { required: ["a"] } }, { body: { required: ["a", "b"] } })).toEqual([
    "changed body.required",
  ]);
  expect(kinds({ body: {} }, { body: { required: true } })).toEqual(["changed body.required"]);
});
