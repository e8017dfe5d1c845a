// Tests `petrel tokens revoke`.
// Guarantees: exactly one option names the tokens; a token is never printed.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel tokens revoke", () => {
  it.each([
    [["--user", "a@b"], { userId: "a@b" }, "all tokens of a@b revoked"],
    [["--jti", "j1"], { jti: "j1" }, "token j1 revoked"],
    [["--jti", "j1", "--exp", "1900000000"], { jti: "j1", exp: 1_900_000_000 }, "token j1 revoked"],
    [["--token", "a.b.c"], { token: "a.b.c" }, "token revoked"],
  ])("%j", async (args, body, said) => {
    bench.answers.set("POST /v1/tokens/revoke", [{ status: 204, body: undefined }]);
    const run = bench.run(["tokens", "revoke", ...args]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, [said], []]);
    expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual(body);
  });

  it("reads a token from standard input, so that no process list shows it", async () => {
    bench.answers.set("POST /v1/tokens/revoke", [{ status: 204, body: undefined }]);
    const run = bench.run(["tokens", "revoke", "--token", "-"]);
    run.stdin.end("a.b.c\n");
    expect([await run.exitCode, run.out]).toEqual([0, ["token revoked"]]);
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({ token: "a.b.c" });
  });

  it.each([
    [[]],
    [["revoke"]],
    [["revoke", "--user", "a", "--jti", "j"]],
    [["revoke", "--jti", "j", "--token", "a.b.c"]],
    [["revoke", "--user", "a", "--exp", "1"]],
    [["revoke", "--token", "a.b.c", "--exp", "1"]],
    [["revoke", "--jti", "j", "--exp", "tomorrow"]],
    [["revoke", "--token", ""]],
    [["revoke", "alice"]],
    [["list"]],
  ])("refuses the command line %j without calling auth", async (args) => {
    expect(await bench.run(["tokens", ...args]).exitCode).toBe(2);
    expect(bench.asked).toEqual([]);
  });
});
