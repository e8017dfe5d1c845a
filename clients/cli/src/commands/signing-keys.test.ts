// Tests `petrel signing-keys`.
// Guarantees: only --immediately ends other keys at once; a wrong command line calls no service.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel signing-keys", () => {
  const key = {
    kid: "k1",
    alg: "ES256",
    state: "retired",
    createdAt: "2030-01-01T00:00:00.000Z",
    activeFrom: "2030-01-02T00:00:00.000Z",
    retiredAt: "2030-01-03T00:00:00.000Z",
    publishedUntil: "2030-01-04T00:00:00.000Z",
  };

  it("lists signing keys", async () => {
    bench.answers.set("GET /v1/signing-keys", [{ status: 200, body: { items: [key], nextCursor: null } }]);
    const run = bench.run(["signing-keys", "list"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        "k1 ES256 retired created 2030-01-01T00:00:00.000Z, signs from 2030-01-02T00:00:00.000Z, " +
          "until 2030-01-03T00:00:00.000Z, published until 2030-01-04T00:00:00.000Z",
      ],
    ]);
    const asJson = bench.run(["signing-keys", "list", "--json"]);
    expect([await asJson.exitCode, asJson.out]).toEqual([0, [JSON.stringify(key)]]);
  });

  it.each([
    [[], false],
    [["--immediately"], true],
  ])("rotates, with %j", async (args, immediately) => {
    bench.answers.set("POST /v1/signing-keys/rotate", [{ status: 200, body: key }]);
    const run = bench.run(["signing-keys", "rotate", ...args]);
    expect([await run.exitCode, run.out.length]).toEqual([0, 1]);
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({ immediately });
  });

  it.each([[[]], [["list", "--immediately"]], [["rotate", "k1"]], [["delete"]]])(
    "refuses the command line %j without calling auth",
    async (args) => {
      expect(await bench.run(["signing-keys", ...args]).exitCode).toBe(2);
      expect(bench.asked).toEqual([]);
    },
  );
});
