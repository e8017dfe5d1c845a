// Tests the catalogue of error codes.
// Guarantees: names keep to one form, and what a producer may retry is what can succeed unchanged.
import { expect, test } from "vitest";
import { errorCatalogue, errorDefinition, type ErrorCode } from "./error-codes.js";

const codes = Object.keys(errorCatalogue) as ErrorCode[];

test.each(codes)("%s has a name of the contract's form and a meaning", (code) => {
  expect(code).toMatch(/^PETREL_[A-Z]+(_[A-Z]+)*$/);
  expect(errorDefinition(code).meaning).toMatch(/\.$/);
});

test("over HTTP: 429, 500 and 503 may be retried, the rest not, except a full inbox", () => {
  const retryable = codes.filter((code) => {
    const { status, retryable } = errorDefinition(code);
    return status !== undefined && retryable;
  });
  expect(retryable.map((code) => errorDefinition(code).status).filter((status) => status !== 409)).toEqual(
    expect.arrayContaining([429, 500, 503]),
  );
  for (const code of retryable) {
    if (code !== "PETREL_INBOX_FULL") expect([429, 500, 503]).toContain(errorDefinition(code).status);
  }
});

test("every status of the contract has a code", () => {
  const statuses = new Set(codes.map((code) => errorDefinition(code).status));
  for (const status of [400, 401, 403, 404, 409, 413, 415, 422, 429, 501, 503] as const) {
    expect(statuses).toContain(status);
  }
});

test("the codes that the contract names are there, with their statuses", () => {
  expect(errorDefinition("PETREL_INBOX_FULL").status).toBe(409);
  expect(errorDefinition("PETREL_IDEMPOTENCY_MISMATCH").status).toBe(422);
  expect(errorDefinition("PETREL_NOT_IMPLEMENTED").status).toBe(501);
});
