// Tests `petrel dead-letters`.
// Guarantees: one letter that cannot be replayed does not stop the others, and shows in the exit code.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel dead-letters", () => {
  const id = "p0_rejected_1-0";
  const letter = {
    id,
    messageId: "p0_m",
    user: "alice",
    cause: "rejected",
    reason: "HTTP 422",
    attempts: 1,
    at: "2030-01-01T00:00:00.000Z",
  };

  it("lists them page by page with an admin's key", async () => {
    bench.answers.set("GET /v1/dead-letters?limit=1000", [
      { status: 200, body: { items: [letter], nextCursor: "next" } },
    ]);
    bench.answers.set("GET /v1/dead-letters?limit=1000&cursor=next", [
      { status: 200, body: { items: [{ ...letter, id: "last", attempts: 3 }], nextCursor: null } },
    ]);
    const run = bench.run(["dead-letters", "list", "--all"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        `${id} 2030-01-01T00:00:00.000Z rejected alice p0_m 1 attempt: HTTP 422`,
        "last 2030-01-01T00:00:00.000Z rejected alice p0_m 3 attempts: HTTP 422",
      ],
    ]);
    expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
  });

  it("lists the requested number, of one cause", async () => {
    bench.answers.set("GET /v1/dead-letters?limit=1&cause=rejected", [
      { status: 200, body: { items: [letter], nextCursor: "next" } },
    ]);
    const run = bench.run(["dead-letters", "list", "--cause", "rejected", "--limit", "1", "--json"]);
    expect([await run.exitCode, run.out]).toEqual([0, [JSON.stringify(letter)]]);
    expect(bench.asked).toHaveLength(1);
  });

  it("escapes a reason's control characters and keeps it on one line", async () => {
    const reason = "no\u009b2J\nsecond line\u202e";
    const letter = { id: "d1", messageId: "m", user: "u", cause: "apns", reason, attempts: 1, at: "now" };
    bench.answers.set("GET /v1/dead-letters?limit=50", [{ status: 200, body: { items: [letter] } }]);
    bench.answers.set("GET /v1/dead-letters/d1", [
      { status: 409, body: { error: { code: "X", message: reason, retryable: false } } },
    ]);
    const list = bench.run(["dead-letters", "list"]);
    expect([await list.exitCode, list.out]).toEqual([
      0,
      ["d1 now apns u m 1 attempt: no\\u009b2J\\u000asecond line\\u202e"],
    ]);
    const show = bench.run(["dead-letters", "show", "d1"]);
    expect([await show.exitCode, show.err]).toEqual([
      1,
      ["petrel: dispatch answered 409 X: no\\u009b2J\\u000asecond line\\u202e"],
    ]);
  });

  it("shows, replays and deletes one", async () => {
    bench.answers.set(`GET /v1/dead-letters/${id}`, [{ status: 200, body: letter }]);
    bench.answers.set(`POST /v1/dead-letters/${id}/replay`, [{ status: 202, body: { id: "p0_m" } }]);
    bench.answers.set(`DELETE /v1/dead-letters/${id}`, [{ status: 204, body: undefined }]);
    const show = bench.run(["dead-letters", "show", id]);
    expect([await show.exitCode, show.out.join("\n")]).toEqual([0, JSON.stringify(letter, undefined, 2)]);
    const replay = bench.run(["dead-letters", "replay", id]);
    expect([await replay.exitCode, replay.out]).toEqual([0, ["p0_m sent again"]]);
    const remove = bench.run(["dead-letters", "delete", id]);
    expect([await remove.exitCode, remove.out]).toEqual([0, [`${id} deleted`]]);
  });

  it("replays all of a cause; one failure does not stop the others and shows in the exit code", async () => {
    bench.answers.set("GET /v1/dead-letters?limit=1000&cause=rejected", [
      { status: 200, body: { items: [{ id: "a" }, { id: "b" }], nextCursor: null } },
    ]);
    const error = { code: "PETREL_CONFLICT", message: "The message is delivered.", retryable: false };
    bench.answers.set("POST /v1/dead-letters/a/replay", [{ status: 409, body: { error } }]);
    bench.answers.set("POST /v1/dead-letters/b/replay", [{ status: 202, body: { id: "p0_b" } }]);
    const run = bench.run(["dead-letters", "replay", "--cause", "rejected"]);
    expect([await run.exitCode, run.out, run.err]).toEqual([
      1,
      ["p0_b sent again"],
      ["a: dispatch answered 409 PETREL_CONFLICT: The message is delivered.", "1 of 2 sent again"],
    ]);
  });

  it("purges what was asked for", async () => {
    bench.answers.set("DELETE /v1/dead-letters?cause=rejected", [{ status: 200, body: { purged: 3 } }]);
    bench.answers.set("DELETE /v1/dead-letters", [{ status: 200, body: { purged: 5 } }]);
    const one = bench.run(["dead-letters", "purge", "--cause", "rejected"]);
    expect([await one.exitCode, one.out]).toEqual([0, ["3 deleted"]]);
    const all = bench.run(["dead-letters", "purge", "--all"]);
    expect([await all.exitCode, all.out]).toEqual([0, ["5 deleted"]]);
  });

  it("prints dispatch's answer", async () => {
    const error = { code: "PETREL_NOT_FOUND", message: "There is none.", retryable: false };
    bench.answers.set("GET /v1/dead-letters/x", [{ status: 404, body: { error } }]);
    const run = bench.run(["dead-letters", "show", "x"]);
    expect([await run.exitCode, run.err]).toEqual([
      1,
      ["petrel: dispatch answered 404 PETREL_NOT_FOUND: There is none."],
    ]);
  });
});
