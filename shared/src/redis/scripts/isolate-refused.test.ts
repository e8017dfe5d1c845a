// Tests scripts/isolate-refused: a user with broken keys delays nobody else.
import { expect, it } from "vitest";
import { isolateRefused } from "./isolate-refused.js";

const refusal = (): Error => Object.assign(new Error("WRONGTYPE of a key"), { name: "ReplyError" });

function workOn(broken: readonly string[], calls: string[][] = []) {
  return (users: readonly string[]): Promise<number | undefined> => {
    calls.push([...users]);
    return users.some((user) => broken.includes(user))
      ? Promise.reject(refusal())
      : Promise.resolve(users.length);
  };
}

it("handles all in one call", async () => {
  const calls: string[][] = [];
  expect(await isolateRefused(["a", "b"], workOn([], calls), () => {})).toEqual([2]);
  expect(calls).toEqual([["a", "b"]]);
});

it("handles each alone if one is refused, and reports that one", async () => {
  const refused: string[] = [];
  const results = await isolateRefused(
    ["a", "b", "c"],
    workOn(["b"]),
    (users) => void refused.push(...users),
  );
  expect(results).toEqual([1, 1]);
  expect(refused).toEqual(["b"]);
});

it("handles each part alone if there are larger ones", async () => {
  const calls: string[][] = [];
  const refused: string[][] = [];
  await isolateRefused(
    ["a1", "b1", "a2"],
    workOn(["a1"], calls),
    (users) => void refused.push([...users]),
    (users) => ["a", "b"].map((first) => users.filter((user) => user.startsWith(first))),
  );
  expect(calls).toEqual([["a1", "b1", "a2"], ["a1", "a2"], ["b1"]]);
  expect(refused).toEqual([["a1", "a2"]]);
});

it("throws if Redis does not answer, at first or midway", async () => {
  const lost = new Error("Connection is closed.");
  const never = (): void => expect.unreachable();
  await expect(isolateRefused(["a"], () => Promise.reject(lost), never)).rejects.toBe(lost);
  let calls = 0;
  const lostLater = () => Promise.reject(calls++ === 0 ? refusal() : lost);
  await expect(isolateRefused(["a", "b"], lostLater, never)).rejects.toBe(lost);
  expect(calls).toBe(2);
});

it("ends as soon as the work is no longer ours", async () => {
  const calls: string[][] = [];
  const work = (users: readonly string[]): Promise<number | undefined> => {
    calls.push([...users]);
    return users.length > 1 ? Promise.reject(refusal()) : Promise.resolve(undefined);
  };
  expect(await isolateRefused(["a", "b"], work, () => {})).toBeUndefined();
  expect(calls).toEqual([["a", "b"], ["a"]]);
});
