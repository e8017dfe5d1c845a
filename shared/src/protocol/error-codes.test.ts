// Tests that docs/send/errors.md and the catalogue of errors agree.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { errorCatalogue, errorDefinition, type ErrorCode } from "./error-codes.js";

const codes = Object.keys(errorCatalogue) as ErrorCode[];
const page = readFileSync(new URL("../../../docs/send/errors.md", import.meta.url), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| `PETREL_"));

test("docs/send/errors.md lists exactly the catalogue, in its order", () => {
  expect(rows).toEqual(
    codes.map((code) => {
      const { status, retryable, meaning } = errorDefinition(code);
      return `| \`${code}\` | ${status ?? "–"} | ${retryable ? "yes" : "no"} | ${meaning} |`;
    }),
  );
});

test("a socket's code names its close code", () => {
  for (const code of codes) {
    const { status, isReason, meaning } = errorDefinition(code);
    if (status === undefined && isReason !== true) expect(meaning, code).toMatch(/\((1|4)\d{3}\)\.$/);
  }
});

test("an error that says when to retry is retryable", () => {
  for (const code of codes) {
    const { status, retryable } = errorDefinition(code);
    if (status === 429 || status === 503) expect(retryable, code).toBe(true);
    if (status === 400 || status === 401 || status === 403 || status === 501)
      expect(retryable, code).toBe(false);
  }
});
