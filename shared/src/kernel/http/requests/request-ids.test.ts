// Tests which ids of clients are taken, and that those made here differ.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { anyText } from "../../../testing/any-text.js";
import { givenRequestId, RequestIds } from "./request-ids.js";

test.each([
  "9f1c1a52-8d3f-4a3e-9a0e-0f4b3f6f0d11",
  "01JA8F9Z3V",
  "Root=1-67891233-abcdef012345678912345678",
  "a/b+c~d:e@f_g.h",
  "x".repeat(128),
])("accepts %s", (id) => {
  expect(new RequestIds().of({ "x-request-id": id })).toBe(id);
});

test.each(["", "a b", "x".repeat(129), "ä", "a,b", 'a"b', "<script>", "a\tb"])("replaces %j", (id) => {
  const ids = new RequestIds();
  expect(givenRequestId({ "x-request-id": id })).toBeUndefined();
  expect(ids.of({ "x-request-id": id })).not.toBe(id);
});

test("generated ids differ, also from another process', and have the form of a given one", () => {
  const [one, other] = [new RequestIds(), new RequestIds()];
  const made = Array.from({ length: 2_000 }, (_, i) => (i % 2 === 0 ? one : other).of({}));
  expect(new Set(made).size).toBe(made.length);
  for (const id of made) expect(givenRequestId({ "x-request-id": id })).toBe(id);
});

test("an id is short and plain, whatever a client sends", () => {
  const ids = new RequestIds();
  fc.assert(
    fc.property(anyText({ maxLength: 200 }), (given) => {
      expect(ids.of({ "x-request-id": given })).toMatch(/^[\w.~:/+=@-]{1,128}$/);
    }),
  );
});
