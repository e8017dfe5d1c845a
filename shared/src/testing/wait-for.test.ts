// Tests the tests' waiting.
// Guarantees: the first truthy value is returned; a failed wait names what it waited for, and why it failed.
import { expect, test } from "vitest";
import { waitFor } from "./wait-for.js";

test("returns the first truthy value", async () => {
  let asked = 0;
  expect(
    await waitFor(() => (++asked < 3 ? undefined : `asked ${asked}`), { what: "three", everyMs: 1 }),
  ).toBe("asked 3");
});

test("throws at the deadline, with the last reason", async () => {
  await expect(waitFor(() => false, { what: "the moon", deadlineMs: 5, everyMs: 1 })).rejects.toThrow(
    "waited 5 ms for the moon",
  );
  const check = async (): Promise<boolean> => {
    throw new Error("too far");
  };
  await expect(waitFor(check, { what: "the moon", deadlineMs: 5, everyMs: 1 })).rejects.toThrow(
    "waited 5 ms for the moon: too far",
  );
});
