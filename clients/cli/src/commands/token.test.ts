// Tests `petrel token`.
// Guarantees: prints the token and nothing else, or the service's error.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel token", () => {
  it("prints only the token", async () => {
    const run = bench.run(["token", "alice", "--ttl", "90"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, ["jwt"], []]);
    expect(bench.asked).toMatchObject([
      {
        line: "POST /v1/tokens",
        authorization: "Bearer key1.s3cret",
        body: '{"userId":"alice","ttlSeconds":90}',
      },
    ]);
  });

  it("prints the service's error", async () => {
    bench.answers.set("POST /v1/tokens", [
      {
        status: 400,
        body: {
          error: {
            code: "PETREL_INVALID_REQUEST",
            message: "body/userId: must match",
            retryable: false,
            details: { field: "body/userId" },
          },
        },
      },
    ]);
    const run = bench.run(["token", "not a user"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([
      1,
      [],
      ['petrel: auth answered 400 PETREL_INVALID_REQUEST: body/userId: must match {"field":"body/userId"}'],
    ]);
  });
});
