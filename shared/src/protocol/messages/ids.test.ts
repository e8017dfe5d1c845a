// Tests which names of users and messages are accepted, and that a message's id leads to its partition.
// Guarantees: no accepted name breaks a key, a line or a path.
import { expect, test } from "vitest";
import { formatMessageId, isMessageId, isUserId, partitionOfMessageId } from "./ids.js";

test.each([
  "a",
  "A-z_0.9:@|~+=",
  "x".repeat(128),
  "alice@example.com",
  "...",
  ".a",
  "..a",
  "a.",
  "a..",
  `..${"x".repeat(126)}`,
  `.x${".".repeat(126)}`,
])("%j is a user id", (id) => {
  expect(isUserId(id)).toBe(true);
});

test.each([
  "",
  ".",
  "..",
  `..${"x".repeat(127)}`,
  `.${"x".repeat(128)}`,
  "x".repeat(129),
  "a b",
  "a\tb",
  "a\nb",
  "a\n",
  "a/b",
  "a{b}",
  "é",
  "a%20b",
  "a*",
  "a,b",
])("%j is not a user id", (id) => {
  expect(isUserId(id)).toBe(false);
});

test("any short name of its characters is one, except path segments", () => {
  const characters = [".", "a", "-", "@"];
  let names = [""];
  for (let length = 1; length <= 5; length++) {
    names = names.flatMap((name) => characters.map((character) => name + character));
    for (const name of names) expect(isUserId(name), name).toBe(name !== "." && name !== "..");
  }
});

test.each(["a", "A-z_09", "x".repeat(64)])("%j is a message id", (id) => {
  expect(isMessageId(id)).toBe(true);
});

test.each(["", "x".repeat(65), "a.b", "a b", "a\n", "a:b", "a{b}"])("%j is not a message id", (id) => {
  expect(isMessageId(id)).toBe(false);
});

test("a message id names its partition, and is a message id", () => {
  const id = formatMessageId(4095, "AZaz09_-AZaz09_-AZaz09");
  expect(isMessageId(id)).toBe(true);
  expect(partitionOfMessageId(id)).toBe(4095);
});

test.each([
  "",
  "p1",
  "p_AZaz09_-AZaz09_-AZaz09",
  "p123456_AZaz09_-AZaz09_-AZaz09",
  "p1_short",
  "xp1_AZaz09_-AZaz09_-AZaz09",
])("%j names no partition", (id) => {
  expect(partitionOfMessageId(id)).toBeUndefined();
});
