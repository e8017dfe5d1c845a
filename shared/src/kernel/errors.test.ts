// Tests the one kind of error that crosses a border.
// Guarantees: its body has the contract's shape; its cause stays inside.
import { expect, test } from "vitest";
import { errorCatalogue, errorDefinition, type ErrorCode } from "../protocol/error-codes.js";
import { describeError, PetrelError } from "./errors.js";

test("takes status and retryability from the catalogue", () => {
  for (const code of Object.keys(errorCatalogue) as ErrorCode[]) {
    const error = new PetrelError(code, "m");
    expect(error.status).toBe(errorDefinition(code).status ?? 500);
    expect(error.retryable).toBe(errorDefinition(code).retryable);
  }
});

test("the body has the contract's shape; details only if there are any, the cause never", () => {
  expect(new PetrelError("PETREL_NOT_FOUND", "m", { cause: new Error("secret") }).toBody()).toStrictEqual({
    error: { code: "PETREL_NOT_FOUND", message: "m", retryable: false },
  });
  expect(new PetrelError("PETREL_INVALID_REQUEST", "m", { details: { field: "to" } }).toBody()).toStrictEqual(
    {
      error: { code: "PETREL_INVALID_REQUEST", message: "m", retryable: false, details: { field: "to" } },
    },
  );
});

test("keeps the cause for the log", () => {
  const cause = new Error("why");
  expect(new PetrelError("PETREL_INTERNAL", "m", { cause }).cause).toBe(cause);
});

test("429 and 503 always say when to retry", () => {
  expect(new PetrelError("PETREL_RATE_LIMITED", "m").retryAfterSeconds).toBe(1);
  expect(new PetrelError("PETREL_UNAVAILABLE", "m").retryAfterSeconds).toBe(1);
  expect(new PetrelError("PETREL_UNAVAILABLE", "m", { retryAfterSeconds: 9 }).retryAfterSeconds).toBe(9);
  expect(new PetrelError("PETREL_NOT_FOUND", "m").retryAfterSeconds).toBeUndefined();
});

test("describes anything thrown", () => {
  expect([new Error("e"), "text", undefined, null, 7].map(describeError)).toEqual([
    "e",
    "text",
    "undefined",
    "null",
    "7",
  ]);
});
