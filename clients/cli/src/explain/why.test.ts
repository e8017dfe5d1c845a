// Tests `petrel why` beside a collect of the release before.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

test("describes the timeline even if collect does not explain", async () => {
  const error = {
    code: "PETREL_INVALID_REQUEST",
    message: "querystring: must not have additional properties",
    retryable: false,
  };
  const answer = {
    id: "p1_m",
    to: { user: "ann" },
    state: "delivered",
    seq: 1,
    acceptedAt: "2030-01-01T00:00:00.000Z",
    expiresAt: "2030-01-02T00:00:00.000Z",
    timeline: [
      { at: "2030-01-01T00:00:00.000Z", event: "accepted" },
      { at: "2030-01-01T00:00:02.000Z", event: "delivered" },
    ],
  };
  bench.answers.set("GET /v1/messages/p1_m?explain=true", [{ status: 400, body: { error } }]);
  bench.answers.set("GET /v1/messages/p1_m", [{ status: 200, body: answer }]);
  const run = bench.run(["why", "p1_m"]);
  expect(await run.exitCode).toBe(0);
  expect(run.out[1]).toBe("Delivered: a client acknowledged it 2 s after it was accepted.");
  expect(run.err.join()).toContain("does not explain");
});

test("says so if the text cannot be a message's id", async () => {
  const error = {
    code: "PETREL_INVALID_REQUEST",
    message: "params/id must match pattern",
    retryable: false,
  };
  bench.answers.set("GET /v1/messages/foo%20bar?explain=true", [{ status: 400, body: { error } }]);
  const run = bench.run(["why", "foo bar"]);
  expect(await run.exitCode).toBe(2);
  expect(run.err.join()).toContain('"foo bar" cannot be a message\'s id');
});
