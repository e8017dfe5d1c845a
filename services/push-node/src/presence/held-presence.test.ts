// Tests who is in a topic through one node.
// Guarantees: a user stays for three seconds after the last connection, not a moment less; one who returns in that time
// was never away; an erased user does not stay.
import { partitionKeys } from "@petrel/shared/redis/keys";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createStoppedClock, type SteppedClock } from "../testing/stepped-clock.js";
import { HeldPresence, saidOf, type HeldUser } from "./held-presence.js";

const keys = partitionKeys(0);
const [first, second] = [{}, {}];

let clock: SteppedClock;
let said: string[];
let held: HeldPresence;
beforeEach(() => {
  clock = createStoppedClock();
  said = [];
  held = new HeldPresence({
    clock,
    graceMs: 3_000,
    keysOf: () => keys,
    onChanged: (user) => void said.push(`${user.topic} ${user.userId} ${saidOf(user) ?? "gone"}`),
  });
});
afterEach(() => held.stop());

function find(topic: string, userId: string): HeldUser {
  const user = held.find(topic, userId);
  if (user === undefined) throw new Error(`no ${userId} in ${topic}`);
  return user;
}

test("counts each connection once, however often it is named", () => {
  held.join("t", "alice", first);
  held.join("t", "alice", first);
  held.join("t", "alice", second);
  held.leave("t", "alice", first);
  held.leave("t", "alice", first);
  expect(said).toEqual(["t alice 1", "t alice 2", "t alice 1"]);
  expect(held.size).toBe(1);
});

test("keeps the user for three seconds after the last connection, in each topic on its own", () => {
  held.join("t", "alice", first);
  held.leave("t", "alice", first);
  clock.step(1_000);
  held.join("u", "alice", first);
  held.leave("u", "alice", first);
  clock.step(1_999);
  held.tick();
  expect(said.splice(0)).toEqual(["t alice 1", "t alice 0", "u alice 1", "u alice 0"]);
  clock.step(1);
  held.tick();
  expect(said.splice(0)).toEqual(["t alice gone"]);
  clock.step(1_000);
  held.tick();
  expect(said).toEqual(["u alice gone"]);
});

test("keeps a user who returns in that time; the next end starts the time again", () => {
  held.join("t", "alice", first);
  held.leave("t", "alice", first);
  clock.step(2_000);
  held.join("t", "alice", second);
  clock.step(2_000);
  held.tick();
  held.leave("t", "alice", second);
  clock.step(2_000);
  held.tick();
  expect(saidOf(find("t", "alice"))).toBe(0);
  clock.step(1_000);
  held.tick();
  expect(said.at(-1)).toBe("t alice gone");
});

test("removes an erased user at once; the end of a connection still closing changes nothing", () => {
  held.join("t", "alice", first);
  held.join("u", "alice", first);
  held.join("u", "bob", second);
  held.leave("t", "alice", first);
  said.splice(0);
  held.forgetUser("alice");
  expect(said).toEqual(["t alice gone", "u alice gone"]);
  held.leave("u", "alice", first);
  clock.step(3_000);
  held.tick();
  expect(said).toHaveLength(2);
  expect(saidOf(find("u", "bob"))).toBe(1);
});

test("empties a topic at once that no longer has presence", () => {
  held.join("t", "alice", first);
  held.join("u", "alice", first);
  held.forgetTopic("t");
  expect(said.at(-1)).toBe("t alice gone");
  expect(saidOf(find("u", "alice"))).toBe(1);
});

test("keeps a removed user until Redis knows it, and no longer", () => {
  held.join("t", "alice", first);
  const user = find("t", "alice");
  user.written = 1;
  held.forgetUser("alice");
  held.settle(user);
  expect(held.find("t", "alice")).toBe(user);
  expect(held.has(keys)).toBe(true);
  user.written = undefined;
  held.settle(user);
  expect(held.find("t", "alice")).toBeUndefined();
  expect(held.has(keys)).toBe(false);
  expect(held.size).toBe(0);
});
