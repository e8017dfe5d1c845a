// Tests that the codes for a `switch` are those of the catalogue.
import { errorCatalogue, errorDefinition, type ErrorCode } from "@petrel/shared/protocol/error-codes";
import { expect, test } from "vitest";
import { serverErrorCodes } from "./error-codes.js";
import { petrelErrorCodes } from "./petrel-error.js";

test("has every code an HTTP answer may have, and no other", () => {
  const all = Object.keys(errorCatalogue) as ErrorCode[];
  expect([...serverErrorCodes]).toEqual(all.filter((code) => errorDefinition(code).status !== undefined));
});

test("the client's own codes are not among the server's", () => {
  for (const code of Object.values(petrelErrorCodes)) expect(Object.keys(errorCatalogue)).not.toContain(code);
});
