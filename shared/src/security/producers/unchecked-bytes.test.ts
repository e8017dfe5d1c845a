// Tests who may hold bytes of signed bodies that are not checked yet.
// Guarantees: one address cannot stop others from sending, however many half-sent bodies it leaves.
import { expect, test } from "vitest";
import type { PetrelError } from "../../kernel/errors.js";
import { UncheckedBytes, UncheckedShare } from "./unchecked-bytes.js";

const MAX = 64;
let nowMs = 0;
const clock = { wallMs: () => 0, monotonicMs: () => nowMs };

function open() {
  const budget = new UncheckedBytes(MAX, clock);
  const gone: string[] = [];
  const body = (address: string, name: string): UncheckedShare => {
    const share: UncheckedShare = new UncheckedShare(address, (error: PetrelError) => {
      gone.push(`${name} ${error.code}`);
      budget.give(share);
    });
    return share;
  };
  return { budget, gone, body };
}

test("nine half-sent bodies of one address make room for another's, the oldest first", () => {
  const { budget, gone, body } = open();
  for (let i = 1; i <= 8; i++) expect(budget.grow(body("bad", `bad${i}`), 8)).toBe(true);
  expect(budget.grow(body("bad", "bad9"), 8)).toBe(false);
  const good = body("good", "good");
  for (const bytes of [1, 4, 8]) expect(budget.grow(good, bytes)).toBe(true);
  expect(gone).toEqual(["bad1 PETREL_UNAVAILABLE"]);
  expect(budget.taken).toBe(MAX);
  budget.give(good);
  expect(budget.taken).toBe(MAX - 8);
});

test("takes nothing from an address that holds no more than the newcomer's", () => {
  const { budget, gone, body } = open();
  for (let i = 1; i <= 8; i++) expect(budget.grow(body(`a${i}`, `a${i}`), 8)).toBe(true);
  const large = body("b", "large");
  expect(budget.grow(large, 8)).toBe(false);
  expect(gone).toEqual([]);
  expect(budget.grow(large, 7)).toBe(true);
  expect(gone).toEqual(["a1 PETREL_UNAVAILABLE"]);
});

test("one that has stopped sending makes room for one that goes on, from the same address too", () => {
  const { budget, gone, body } = open();
  const stalled = body("same", "stalled");
  budget.grow(stalled, 32);
  const sending = body("same", "sending");
  budget.grow(sending, 16);
  nowMs += 1_500;
  budget.grow(sending, 32);
  expect(budget.grow(body("same", "newcomer"), 8)).toBe(false);
  nowMs += 500;
  expect(budget.grow(body("same", "newcomer"), 8)).toBe(true);
  expect(gone).toEqual(["stalled PETREL_UNAVAILABLE"]);
});
