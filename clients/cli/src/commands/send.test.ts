// Tests `petrel send`.
// Guarantees: the data is sent as it was typed; `--wait` ends with the message's outcome, or in time.
import { PassThrough } from "node:stream";
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel send", () => {
  it("sends the data as it was written", async () => {
    const run = bench.run([
      "send",
      "bob",
      '{"big":12345678901234567890}',
      "--ttl",
      "5",
      "--idempotency-key",
      "k",
    ]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, ["p1_m accepted"], []]);
    expect(bench.asked[0]?.body).toBe(
      '{"to":{"user":"bob"},"ttlSeconds":5,"idempotencyKey":"k","data":{"big":12345678901234567890}}',
    );
  });

  it("reads the data from standard input", async () => {
    const stdin = new PassThrough();
    stdin.end('"from a pipe"');
    const run = bench.run(["send", "bob", "-", "--json"], { stdin });
    expect([await run.exitCode, run.out]).toEqual([0, ['{"id":"p1_m","duplicate":false}']]);
    expect(bench.asked[0]?.body).toBe('{"to":{"user":"bob"},"data":"from a pipe"}');
  });

  it.each([
    ["delivered", 0],
    ["pushed", 0],
    ["expired", 1],
    ["failed", 1],
  ])("waits for the end: %s exits %i", async (end, exitCode) => {
    bench.answers.set("GET /v1/messages/p1_m", [
      { status: 200, body: { state: "queued" } },
      { status: 200, body: { state: "queued" } },
      { status: 200, body: { state: end } },
    ]);
    const run = bench.run(["send", "bob", "1", "--wait"]);
    expect([await run.exitCode, run.out]).toEqual([
      exitCode,
      ["p1_m accepted", "p1_m queued", `p1_m ${end}`],
    ]);
  });

  it("does not wait forever", async () => {
    bench.answers.set("GET /v1/messages/p1_m", [{ status: 200, body: { state: "queued" } }]);
    const run = bench.run(["send", "bob", "1", "--wait", "--wait-seconds", "1"]);
    expect([await run.exitCode, run.err]).toEqual([1, ["petrel: still queued after 1 s"]]);
  });

  it("stops waiting when it is interrupted", async () => {
    bench.answers.set("GET /v1/messages/p1_m", [{ status: 200, body: { state: "queued" } }]);
    const run = bench.run(["send", "bob", "1", "--wait"]);
    await waitFor(() => run.out.length === 2, { what: "the first state" });
    run.interrupt();
    expect([await run.exitCode, run.err]).toEqual([1, ["petrel: interrupted"]]);
  });

  it("refuses invalid JSON before it sends anything", async () => {
    const run = bench.run(["send", "bob", "{text:hello}"]);
    expect(await run.exitCode).toBe(2);
    expect(run.err[0]).toContain("the data is not JSON");
    expect(bench.asked).toEqual([]);
  });
});
