// Tests which of the messages that are due go first.
// Guarantees covered: each once; by priority; nobody starves; a recipient's order; in order of time while all can go.
import { array, assert, constantFrom, integer, property, record } from "fast-check";
import { expect, test } from "vitest";
import { priorityShiftUs, recipientOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { priorities, type Priority } from "../../protocol/messages/stored-message.js";
import { chooseDue, type DueSchedule, PASSED_FOR_MS } from "./choose-due.js";

const NOW_MS = Date.UTC(2026, 10, 29);

function due(id: string, recipient: string, priority: Priority, atMs: number): DueSchedule {
  const order = (NOW_MS * 1_000 - 3_600e6 + priorityShiftUs(priority)).toString(16).padStart(13, "0");
  return { member: `${order}01${id}\t${recipient}`, atMs };
}

const idOf = (member: string): string => member.slice(15, member.indexOf("\t"));
const chosen = (all: readonly DueSchedule[], limit: number): string[] =>
  chooseDue(all, limit, NOW_MS).map(idOf);

test("if all fit, they go in order of time", () => {
  const all = [due("a", "u1", "low", 1), due("b", "u2", "high", 2), due("c", "u3", "normal", 3)];
  expect(chosen(all, 3)).toEqual(["a", "b", "c"]);
});

test("of more, higher priorities go first, even if due later", () => {
  const all = [
    due("low", "u1", "low", 1),
    due("normal", "u2", "normal", 2),
    due("high", "u3", "high", 3),
    due("more", "u4", "low", 4),
  ];
  expect(chosen(all, 1)).toEqual(["high"]);
  expect(chosen(all, 3)).toEqual(["high", "normal", "low"]);
});

test("a recipient's earlier messages go along: its order is that of time", () => {
  const all = [
    due("u1 first", "u1", "low", 1),
    due("u2 only", "u2", "normal", 2),
    due("u1 second", "u1", "high", 3),
  ];
  expect(chosen(all, 1)).toEqual(["u1 first"]);
  expect(chosen(all, 2)).toEqual(["u1 first", "u2 only"]);
});

test("under an endless stream of high ones, a low one is passed over only for a while", () => {
  // One is promoted a second, and one of high priority becomes due: without age the low one would wait for ever.
  const waiting = [due("low", "u0", "low", 0), due("first", "u1", "high", 0)];
  const order: string[] = [];
  for (let second = 1; !order.includes("low") && second < 1_000; second++) {
    const [first = ""] = chooseDue(waiting, 1, NOW_MS);
    order.push(idOf(first));
    waiting.splice(
      waiting.findIndex(({ member }) => member === first),
      1,
    );
    waiting.push(due(`high ${second}`, `u${second + 1}`, "high", second * 1_000));
  }
  expect(order.at(-1)).toBe("low");
  expect(order.length).toBeGreaterThan(10);
  expect(order.length).toBeLessThanOrEqual(PASSED_FOR_MS.low / 1_000 + 2);
});

test("for any set: a subset without repeats, each recipient's earliest, none overtaken by much later ones", () => {
  const one = record({
    recipient: integer({ min: 0, max: 4 }),
    priority: constantFrom(...priorities),
    atMs: integer({ min: 0, max: 200_000 }),
  });
  assert(
    property(array(one, { maxLength: 40 }), integer({ min: 1, max: 20 }), (some, limit) => {
      const all = some
        .sort((a, b) => a.atMs - b.atMs)
        .map(({ recipient, priority, atMs }, i) => due(`m${i}`, `u${recipient}`, priority, atMs));
      const members = chooseDue(all, limit, NOW_MS);
      expect(members).toHaveLength(Math.min(limit, all.length));
      expect(new Set(members).size).toBe(members.length);
      const places = new Map(all.map(({ member }, place) => [member, place]));
      const next = new Map<string, number[]>();
      for (const { member } of all) {
        const recipient = recipientOfSchedule(member);
        next.set(recipient, [...(next.get(recipient) ?? []), places.get(member) ?? -1]);
      }
      for (const member of members) {
        expect(places.get(member)).toBe(next.get(recipientOfSchedule(member))?.shift());
      }
      // Who is left was passed only by turns that began before its own.
      const lastMs = Math.max(...members.map((member) => all[places.get(member) ?? 0]?.atMs ?? 0));
      for (const { member, atMs } of all)
        if (!members.includes(member)) expect(lastMs - atMs).toBeLessThanOrEqual(PASSED_FOR_MS.low);
    }),
  );
});
