// Tests `petrel cancel`.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel cancel", () => {
  it.each([
    [[], "p1_m cancelled"],
    [["--json"], '{"id":"p1_m","state":"cancelled"}'],
  ])("cancels a message, %j", async (options, line) => {
    bench.answers.set("DELETE /v1/messages/p1_m", [{ status: 204, body: {} }]);
    const run = bench.run(["cancel", "p1_m", ...options]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, [line], []]);
    expect(bench.asked.map(({ line: asked }) => asked)).toEqual(["DELETE /v1/messages/p1_m"]);
  });

  it("reports why it could not", async () => {
    const error = { code: "PETREL_CONFLICT", message: "The message is delivered.", retryable: false };
    bench.answers.set("DELETE /v1/messages/p1_m", [{ status: 409, body: { error } }]);
    const run = bench.run(["cancel", "p1_m"]);
    expect([await run.exitCode, run.out]).toEqual([1, []]);
    expect(run.err.join()).toContain("The message is delivered.");
  });

  it("accepts exactly one id", async () => {
    expect(await bench.run(["cancel"]).exitCode).toBe(2);
    expect(await bench.run(["cancel", "a", "b"]).exitCode).toBe(2);
  });
});
